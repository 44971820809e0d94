// Draws the report's charts with Chart.js from the JSON beside each canvas, in the colours of the
// page, again when the reader's light or dark setting changes. Text from the records is only ever
// drawn on a canvas or set as textContent.
'use strict';
(() => {
  const FAMILIES = {
    'unchanged': { color: '--c-unchanged', shape: 'circle' },
    'half precision': { color: '--c-half', shape: 'rectRot' },
    'integers': { color: '--c-integers', shape: 'rect' },
    'pruned': { color: '--c-pruned', shape: 'triangle' },
    'pruned and quantised': { color: '--c-both', shape: 'rectRounded' },
  };
  const ARITHMETICS = {
    'float32': { color: '--c-half', shape: 'circle' },
    'bfloat16': { color: '--c-pruned', shape: 'rectRot' },
    'int8': { color: '--c-integers', shape: 'rect' },
  };
  const LINES = ['--c-half', '--c-integers', '--c-pruned', '--c-both', '--c-unchanged'];
  const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3], [12, 4]];
  const ROOF_DASHES = [[], [6, 3], [2, 3], [12, 8], [2, 8]];  // that the legend, there and back over 26, shows as they are
  const NEAR_TOP_POINTS = 6;  // "near the top" shows this many percentage points

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const buttons = (into, names, chosen, choose) => {
    const group = document.createElement('div');
    group.setAttribute('role', 'group');
    const all = names.map((name, i) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = name;
      button.setAttribute('aria-pressed', String(i === chosen));
      button.addEventListener('click', () => {
        all.forEach((b, k) => b.setAttribute('aria-pressed', String(k === i)));
        choose(i);
      });
      group.append(button);
      return button;
    });
    into.append(group);
  };

  // --- axes -----------------------------------------------------------------------------------
  const tidy = (v) => (v >= 100 ? Math.round(v).toLocaleString('en') : String(Number(v.toPrecision(3))));
  const axis = (title, extra) => ({
    title: { display: true, text: title, color: css('--quiet') },
    grid: { color: css('--line'), drawTicks: false },
    border: { display: false },
    ...extra,
    ticks: { color: css('--quiet'), padding: 6, maxRotation: 0, includeBounds: false, ...(extra.ticks || {}) },
  });
  const roundFigures = (v) => [1, 2, 5].includes(Number((v / 10 ** Math.floor(Math.log10(v) + 1e-9)).toPrecision(3)));
  const xAxis = (title, xs) => {
    const low = Math.min(...xs), high = Math.max(...xs);
    if (high / low > 6) {
      return axis(title + ' (logarithmic)', { type: 'logarithmic', min: low / 1.3, max: high * 1.6,
        ticks: { callback: tidy, autoSkip: false },
        afterBuildTicks: (scale) => { scale.ticks = scale.ticks.filter((t) => roundFigures(t.value)); } });
    }
    const room = (high - low || high) * 0.12;
    return axis(title, { type: 'linear', min: Math.max(0, low - room), max: high + 2 * room });
  };

  // --- plug-ins ---------------------------------------------------------------------------------
  const intervals = {
    id: 'intervals',
    beforeDatasetsDraw(chart) {
      const { ctx, chartArea: area } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(area.left, area.top, area.width, area.height);
      ctx.clip();
      for (const [i, set] of chart.data.datasets.entries()) {
        if (!set.points) continue;
        chart.getDatasetMeta(i).data.forEach((mark, k) => {
          const p = set.data[k];
          if (p.below) return;
          ctx.strokeStyle = set.backgroundColor;
          ctx.globalAlpha = 0.55;
          ctx.lineWidth = 1.5;
          ctx.beginPath();
          ctx.moveTo(mark.x, chart.scales.y.getPixelForValue(p.low));
          ctx.lineTo(mark.x, chart.scales.y.getPixelForValue(p.high));
          ctx.stroke();
        });
      }
      ctx.restore();
    },
  };
  // Names beside their points, each at the first of some places where it covers no point and no
  // other name; a name that fits nowhere is left to the tooltip.
  const places = (w) => {
    const all = [[9, 0], [-9 - w, 0], [-w / 2, -16], [-w / 2, 16]];
    for (const dy of [14, 27, 40, 53]) for (const dx of [8, -8 - w, -w / 2, -w * 0.75, -w * 0.25]) all.push([dx, -dy], [dx, dy]);
    return all;
  };
  const names = {
    id: 'names',
    afterDatasetsDraw(chart) {
      const { ctx, chartArea: area } = chart;
      const marks = [];
      for (const [i, set] of chart.data.datasets.entries()) {
        if (set.points) chart.getDatasetMeta(i).data.forEach((m, k) => marks.push({ x: m.x, y: m.y, p: set.data[k], color: set.backgroundColor }));
      }
      const taken = marks.map((m) => [m.x - 7, m.y - 7, m.x + 7, m.y + 7]);
      const free = (b) => b[0] >= area.left && b[2] <= area.right && b[1] >= area.top && b[3] <= area.bottom &&
        taken.every((t) => b[2] < t[0] || b[0] > t[2] || b[3] < t[1] || b[1] > t[3]);
      ctx.save();
      ctx.font = '600 11.5px ' + getComputedStyle(document.body).fontFamily;
      ctx.textBaseline = 'middle';
      let drawn = 0;
      for (const m of [...marks].sort((a, b) => a.y - b.y)) {
        if (!m.p.label) continue;
        const text = m.p.below ? `${m.p.label} ${m.p.value.toFixed(1)} % ↓` : m.p.label;
        const w = ctx.measureText(text).width, h = 14;
        for (const [dx, dy] of places(w)) {
          const box = [m.x + dx - 1, m.y + dy - h / 2, m.x + dx + w + 1, m.y + dy + h / 2];
          if (!free(box)) continue;
          taken.push(box);
          ctx.strokeStyle = css('--panel');
          ctx.lineWidth = 4;
          ctx.strokeText(text, m.x + dx, m.y + dy);
          ctx.fillStyle = m.color;
          ctx.fillText(text, m.x + dx, m.y + dy);
          drawn += 1;
          break;
        }
      }
      ctx.restore();
      chart.canvas.dataset.names = String(drawn);
    },
  };

  // --- the kinds of chart -----------------------------------------------------------------------
  const tooltip = (lines) => ({
    backgroundColor: css('--ink'), titleColor: css('--ground'), bodyColor: css('--ground'),
    padding: 10, cornerRadius: 6, displayColors: false, callbacks: lines,
  });
  const common = () => ({
    animation: false, responsive: true, maintainAspectRatio: false,
    interaction: { mode: 'nearest', intersect: false },
  });

  function tradeoff(spec, state) {
    const view = spec.views[state.view];
    const ys = view.points.map((p) => p.y);
    const top = Math.max(...view.points.map((p) => p.high));
    let floor = Math.min(...view.points.map((p) => p.low));
    if (state.near) floor = Math.max(floor, Math.max(...ys) - NEAR_TOP_POINTS);
    const room = Math.max((top - floor) * 0.08, 0.2);
    floor = Math.max(0, floor - room);
    const families = [...new Set(view.points.map((p) => p.family))];
    const place = (p) => (p.y < floor ? { ...p, value: p.y, y: floor + room * 0.5, below: true } : { ...p, value: p.y });
    const sets = families.map((family) => {
      const look = FAMILIES[family];
      return { label: family, points: true, data: view.points.filter((p) => p.family === family).map(place), backgroundColor: css(look.color),
        borderColor: css('--panel'), borderWidth: 1.5, pointStyle: look.shape, radius: 7, hoverRadius: 9, hitRadius: 8 };
    });
    const front = view.front.map((i) => view.points[i]).filter((p) => p.y >= floor).map((p) => ({ x: p.x, y: p.y }));
    sets.push({ label: 'Pareto front', data: front, showLine: true, stepped: 'before', borderColor: css('--quiet'),
      borderWidth: 1.5, borderDash: [5, 4], pointRadius: 0, pointHitRadius: 0, pointHoverRadius: 0, order: 10 });
    return {
      type: 'scatter', data: { datasets: sets }, plugins: [intervals, names],
      options: {
        ...common(),
        scales: { x: xAxis(spec.x, view.points.map((p) => p.x)), y: axis(spec.y, { min: floor, max: Math.min(100, top + room) }) },
        plugins: {
          legend: { display: false },  // every point bears its name
          tooltip: { ...tooltip({ title: (at) => at[0].raw.label, label: (at) => at.raw.tip }), filter: (at) => Boolean(at.raw.tip) },
        },
      },
    };
  }

  // Layers under the machine's roofs, both axes logarithmic.
  function roofline(spec, state) {
    const view = spec.views[state.view];
    const families = [...new Set(view.points.map((p) => p.family))];
    const sets = families.map((family) => {
      const look = ARITHMETICS[family] || ARITHMETICS.float32;
      return { label: family, points: true, data: view.points.filter((p) => p.family === family), backgroundColor: css(look.color),
        borderColor: css('--panel'), borderWidth: 1, pointStyle: look.shape, hitRadius: 8,
        pointRadius: (at) => (at.raw ? 4 + 9 * Math.sqrt(at.raw.share) : 0), pointHoverRadius: (at) => (at.raw ? 6 + 9 * Math.sqrt(at.raw.share) : 0) };
    });
    view.roofs.forEach((roof, i) => sets.push({ label: roof.label, data: roof.points.map(([x, y]) => ({ x, y })), showLine: true,
      borderColor: css('--quiet'), borderWidth: 1.5, borderDash: ROOF_DASHES[i % ROOF_DASHES.length], pointRadius: 0, pointHitRadius: 0,
      pointHoverRadius: 0, order: 10 }));
    const ends = view.roofs.flatMap((roof) => roof.points);
    const logarithmic = (title, values) => axis(title + ' (logarithmic)', { type: 'logarithmic',
      min: Math.min(...values) / 1.3, max: Math.max(...values) * 1.3, ticks: { callback: tidy, autoSkip: false },
      afterBuildTicks: (scale) => {
        const decades = Math.log10(scale.max / scale.min);
        const wanted = decades > 3 ? [1] : decades > 1.6 ? [1, 3] : [1, 2, 5];
        scale.ticks = scale.ticks.filter((t) => wanted.includes(Number((t.value / 10 ** Math.floor(Math.log10(t.value) + 1e-9)).toPrecision(3))));
      } });
    return {
      type: 'scatter', data: { datasets: sets }, plugins: [names],
      options: {
        ...common(),
        scales: {
          x: logarithmic(spec.x, [...ends.map(([x]) => x), ...view.points.map((p) => p.x)]),
          y: logarithmic(spec.y, [...view.points.map((p) => p.y), ...ends.map(([, y]) => y).filter((y, i) => i % 2 === 1)]),
        },
        plugins: {
          legend: { position: 'bottom', labels: { color: css('--quiet'), usePointStyle: false, boxHeight: 0, boxWidth: 26, padding: 10,
            filter: (item) => sets[item.datasetIndex].order === 10 } },
          tooltip: { ...tooltip({ title: (at) => at[0].raw.name, label: (at) => at.raw.tip }), filter: (at) => Boolean(at.raw.tip) },
        },
      },
    };
  }

  function lines(spec) {
    const sets = spec.series.map((s, i) => ({
      label: s.label, data: s.points.map(([x, y]) => ({ x, y })), showLine: true, borderColor: css(LINES[i % LINES.length]),
      backgroundColor: css(LINES[i % LINES.length]), borderDash: DASHES[i % DASHES.length], borderWidth: 2,
      pointRadius: s.points.length > 40 ? 0 : 3, pointHitRadius: 8, tension: 0,
    }));
    const whole = (v) => (Number.isInteger(v) ? v : '');
    return {
      type: 'scatter', data: { datasets: sets },
      options: {
        ...common(),
        scales: { x: axis(spec.x, { type: 'linear', ticks: { callback: whole } }), y: axis(spec.y, {}) },
        plugins: {
          legend: { position: 'bottom', labels: { color: css('--quiet'), boxHeight: 0, boxWidth: 26, padding: 12 } },
          tooltip: tooltip({ title: (at) => `${at[0].dataset.label}, epoch ${at[0].raw.x}`, label: (at) => `${spec.y}: ${tidy(at.raw.y)}` }),
        },
      },
    };
  }

  // --- each figure ------------------------------------------------------------------------------
  // The arrow keys walk through the points and read them out.
  function walkWithKeys(canvas, readOut, chartOf) {
    let at = -1;
    canvas.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step && event.key !== 'Escape') return;
      event.preventDefault();
      const chart = chartOf();
      const all = [];
      chart.data.datasets.forEach((set, datasetIndex) => {
        if (set.order !== 10 && chart.isDatasetVisible(datasetIndex)) set.data.forEach((p, index) => all.push({ datasetIndex, index, x: p.x }));
      });
      all.sort((a, b) => a.x - b.x);
      at = step ? (at + step + all.length) % all.length : -1;
      const active = at < 0 || !all.length ? [] : [{ datasetIndex: all[at].datasetIndex, index: all[at].index }];
      chart.setActiveElements(active);
      chart.tooltip.setActiveElements(active, { x: 0, y: 0 });
      chart.update();
      const shown = chart.tooltip;
      readOut.textContent = active.length ? [...shown.title, ...shown.body.flatMap((b) => b.lines)].join('. ') : '';
    });
  }

  function setUp(figure) {
    const spec = JSON.parse(figure.querySelector('script').textContent);
    const canvas = figure.querySelector('canvas');
    const choices = figure.querySelector('.choices');
    const readOut = document.createElement('div');
    readOut.className = 'read-out';
    readOut.setAttribute('aria-live', 'polite');
    figure.append(readOut);
    const state = { view: 0, near: false };
    let chart = null;
    const draw = () => {
      if (chart) chart.destroy();
      chart = new Chart(canvas, { tradeoff, roofline, lines }[spec.type](spec, state));
      canvas.dataset.drawn = String(chart.data.datasets.reduce((n, set) => n + set.data.length, 0));
    };
    if (spec.views && spec.views.length > 1) buttons(choices, spec.views.map((v) => v.name), 0, (i) => { state.view = i; draw(); });
    if (spec.type === 'tradeoff') {
      const ys = spec.views[0].points.map((p) => p.y);
      const near = ys.filter((y) => y >= Math.max(...ys) - NEAR_TOP_POINTS).length;
      if (near >= 2 && near < ys.length) {
        state.near = true;
        buttons(choices, ['near the top', 'whole range'], 0, (i) => { state.near = i === 0; draw(); });
      }
    }
    walkWithKeys(canvas, readOut, () => chart);
    return draw;
  }

  function setUpChooser(chooser) {
    const options = [...chooser.querySelectorAll('.option')];
    if (options.length < 2) return;
    const show = (i) => options.forEach((option, k) => { option.hidden = k !== i; });
    const choices = document.createElement('div');
    choices.className = 'choices';
    chooser.prepend(choices);
    buttons(choices, options.map((o) => o.dataset.name), 0, show);
    show(0);
  }

  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 12;
  document.querySelectorAll('.chooser').forEach(setUpChooser);
  const draws = [...document.querySelectorAll('figure.chart')].map(setUp);
  const drawAll = () => draws.forEach((draw) => draw());
  drawAll();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
})();

# Sourced: make_photos makes photos/{train,val}/{a,b} with eight pictures each.
photo=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../fixtures/data/images/photo.png
make_photos() {
  mkdir -p photos/{train,val}/{a,b}
  local class i
  for class in photos/*/*; do
    for i in 1 2 3 4 5 6 7 8; do cp "$photo" "$class/$i.png"; done
  done
}

// Folders of pictures: DIR/train/<class>/… and DIR/val/<class>/… (or DIR/test), JPEG and PNG, at
// any depth below the class; or DIR/<class>/… alone, of which a seeded fifth of each class becomes
// the test images.
//
// That split is stored as DIR/pare-split-<seed>.txt (in Pare's cache folder if DIR cannot be
// written), one line an image, "train cat/1.jpg" or "test cat/2.jpg", and read again the next time:
// images that were added since are drawn for and appended, so that none ever changes sides.
//
// Every picture is decoded once, in parallel, when the folder is opened; broken ones are left out,
// named and counted (or, with `strict`, an error). If all fit into the memory budget they are kept,
// otherwise they are decoded again each time they are read.
#ifndef PARE_DATA_IMAGE_FOLDER_H_
#define PARE_DATA_IMAGE_FOLDER_H_

#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"

namespace pare {

struct LabelledFile {
  std::string path;  // relative to the folder that was listed
  int32_t label = 0;
};

struct FolderListing {
  std::string root;
  std::vector<std::string> classes;  // names of the folders, sorted bytewise
  std::vector<LabelledFile> files;   // by class, then path
};

// The pictures below root/<class>; hidden files and folders, and files of other kinds, are passed
// over. Fails if there is none.
Result<FolderListing> list_image_folder(const std::string& root);

// Which of the listing's files are test images: those the stored split says, new ones drawn from
// `seed`, a fifth of each class (at least one where a class has two). Writes the split if it
// changed, first to `stored_at`, else to `fallback`; `warnings` says so.
Result<std::vector<bool>> split_listing(const FolderListing& listing, uint64_t seed,
                                        const std::string& stored_at, const std::string& fallback,
                                        std::vector<std::string>& warnings);

struct FolderOptions {
  ImageFit fit;
  bool strict = false;
  int threads = 0;  // 0: all cores
  int64_t memory_budget_bytes = int64_t{2} << 30;
  std::string description;  // of the whole: "cats training"
};
// Decodes the files and makes a dataset of the sound ones. What was left out goes to `warnings`.
Result<std::shared_ptr<const Dataset>> open_image_files(const FolderListing& listing,
                                                        const FolderOptions& options,
                                                        std::vector<std::string>& warnings);

}  // namespace pare

#endif  // PARE_DATA_IMAGE_FOLDER_H_

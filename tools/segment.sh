#!/usr/bin/env bash
# Does pre-training help to segment 78 real films? Lungs with three seeds and lesions with one, from scratch and from the
# HOG student of tools/sample.sh, which is pre-trained where it is absent. Results in runs/segment/compared.
# STUDENT is another pre-trained run. Every command goes on with what it began: this may be stopped and started again.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=runs/segment pack=packs/covid_masks student=${STUDENT:-runs/sample/hog}

[ -n "${STUDENT:-}" ] || bash tools/sample.sh hog
test -e "$pack/manifest.json" || python prepare.py data=covid_masks data.pack="$pack" \
  raw_dir="${EVAX_SHARED:?is the folder of covid_segmentation}/covid_segmentation"

segment() {  # NAME, words of its own, seeds among them; the first half of the jobs starts from scratch
  python train.py -m experiment=sample_segment weights=null,"$student" data.pack="$pack" "~callbacks.progress" \
    hydra.sweep.dir="$runs/$1" "${@:2}"
}
segment lungs seed=0,1,2
segment lesions seed=0 data.masks.mask=lesions "~data.masks.classes.lung" "+data.masks.classes.lesion=[1,2]"

compare() {  # NAME, and the pre-trained and the scratch runs: the difference of pooled Dice, on resampled patients
  python evaluate.py compare="[[$2],[$3]]" names="[pre-trained,scratch]" hydra.run.dir="$runs/compared/$1"
}
lungs() { echo "$runs/lungs/$1,$runs/lungs/$2,$runs/lungs/$3"; }
compare lungs "$(lungs 3 4 5)" "$(lungs 0 1 2)"
compare lesions "$runs/lesions/1" "$runs/lesions/0"

#!/usr/bin/env bash
# Is pre-training worth anything on the 848 real films of the sample? One pre-training a method; all weights tuned, on
# all and on a tenth of the patients, with three seeds each; and frozen. Results in runs/sample/compared.
# Every command goes on with what it began, so this may be stopped and started again.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=runs/sample pack=packs/sample
common=(data.pack="$pack" "~callbacks.progress")

test -e "$pack/manifest.json" ||
  python prepare.py data=cxr14 raw_dir="${EVAX_SHARED:?is the folder of nih_cxr14_sample}/nih_cxr14_sample" data.pack="$pack"

pretrain() {  # NAME, words of its own
  python train.py experiment=sample_pretrain "${common[@]}" \
    hydra.run.dir="$runs/$1" "${@:2}"
}
pretrain hog
[ "${1:-}" != hog ] || exit 0  # all that tools/segment.sh wants
pretrain second tokenizer=eva_x tokenizer.weights="$runs/hog"  # the first student teaches the second

finetune() {  # NAME, words of its own; jobs 0-2 start from scratch, 3-5 from hog, 6-8 from second
  python train.py -m experiment=sample_finetune weights=null,"$runs/hog","$runs/second" seed=0,1,2 "${common[@]}" \
    hydra.sweep.dir="$runs/$1" "${@:2}"
}
finetune full
finetune few data.fraction=0.1 trainer.max_epochs=5  # of 521 films, of which a tenth comes ten times each

random="$runs/hog/evaluation/random"  # numbers of the same seed for both students
python evaluate.py run="$runs/hog" features=random name=random
probe() {  # NAME of a pre-training: a frozen backbone with its best linear layer, which has no seeds
  python evaluate.py run="$runs/$1" name="$1" against="[$random]"
}
probe hog
probe second

compare() {  # WAY/NAME, RIVAL, and the runs of either
  python evaluate.py compare="[[$3],[$4]]" names="[${1#*/},$2]" hydra.run.dir="$runs/compared/$1_$2"
}
jobs() {  # the three of a sweep, from the FIRST
  echo "$runs/$1/$2,$runs/$1/$(($2 + 1)),$runs/$1/$(($2 + 2))"
}
for way in full few; do
  compare "$way/hog" scratch "$(jobs $way 3)" "$(jobs $way 0)"
  compare "$way/second" scratch "$(jobs $way 6)" "$(jobs $way 0)"
  compare "$way/second" hog "$(jobs $way 6)" "$(jobs $way 3)"
done
frozen() { echo "$runs/$1/evaluation/backbone"; }
compare frozen/hog scratch "$(frozen hog)" "$random"
compare frozen/second scratch "$(frozen second)" "$random"
compare frozen/second hog "$(frozen second)" "$(frozen hog)"

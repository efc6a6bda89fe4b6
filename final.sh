#!/usr/bin/env bash
# Fine-tuning of quadtree-tiny-v7: three seeds, three domains, ten minutes of one core each.
#   ./final.sh OUT CORE [MINUTES]     OUT/domains must hold the folders of tools/domains.py
# Writes OUT/table.txt. A finished part is not done again.
set -u
out=$(realpath -m "$1") core=$2 minutes=${3:-10}
cd "$(dirname "$0")"
export PYTHONPATH=$PWD CODAX_DATA=${CODAX_DATA:-/work/shared/data} OPENBLAS_NUM_THREADS=1
export XDG_CACHE_HOME=$out/cache
python=${PYTHON:-/work/main/.venv/bin/python}
run() { taskset -c "$core" "$python" "$@"; }
# A line for each weights: name, 28 to 40 dB, all of the curves.
table() { sed -E "s#^.*checkpoints/##; s#: 28-40 dB ([^,]*),.*, all ([^()]*\([^)]*\)).*#  28-40 dB: \1  all: \2#" "$1"; }
mkdir -p "$out/logs" "$out/checkpoints"
if [ ! -d "$out/domains/people-held" ]; then
    pip3 download -q --no-deps -d "$out/wheels" deepforest==2.1.0
    run tools/domains.py "$out"/wheels/deepforest-2.1.0-*.whl -o "$out/domains"
fi
domains=${DOMAINS:-screens forest people}
weights=()
for seed in 0 1 2; do
    for domain in $domains; do
        name=quadtree-$domain$seed
        if [ ! -f "$out/checkpoints/$name-v1/card.json" ]; then
            run -m codax train --finetune quadtree-tiny-v7 --data "$out/domains/$domain" \
                --minutes "$minutes" --seed $seed -f -o "$out/runs/$domain-$seed" \
                > "$out/logs/$domain-$seed.txt" 2>&1
            tail -1 "$out/logs/$domain-$seed.txt"
            run -m codax export "$out/runs/$domain-$seed" $name --data "$out/domains/$domain" \
                -f -o "$out/checkpoints" 2>&1 | tee "$out/logs/export-$domain-$seed.txt"
        fi
        weights+=("$out/checkpoints/$name-v1")
    done
done
for domain in $domains; do
    own=()
    for w in "${weights[@]}"; do [[ $w == *quadtree-$domain* ]] && own+=("$w"); done
    run tools/held_out.py quadtree-tiny-v7 "${own[@]}" --data "$out/domains/$domain-held" \
        > "$out/logs/held-$domain.txt" 2>&1
done
run tools/held_out.py quadtree-tiny-v7 "${weights[@]}" > "$out/logs/held-general.txt" 2>&1
{
    for domain in $domains; do
        echo "held-out $domain"; table "$out/logs/held-$domain.txt"
    done
    echo "general set"; table "$out/logs/held-general.txt"
    echo "said at the end of runs"; for f in "$out"/logs/*-[0-9].txt; do [[ $f == */export* ]] || echo "$(basename "$f"): $(tail -n1 "$f")"; done
    ls -l "$out"/checkpoints/*/weights.safetensors.xz
} | tee "$out/table.txt"

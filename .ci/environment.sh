# shellcheck shell=bash disable=SC2034
# The scripts in this folder source this file. It gives them uv and a folder for environments
# outside the clone.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
make --no-print-directory venv
uv="$PWD/.venv/bin/uv"
# The Makefile does the same, and gives the reasons.
export UV_SYSTEM_CERTS=true
unset PYTHONDONTWRITEBYTECODE
# Stages run in another folder, so they need the path of the sources.
PYTHONPATH="$PWD"
export PYTHONPATH
cache="${XDG_CACHE_HOME:-$HOME/.cache}/vaeline"
mkdir -p "$cache"
# Remove environments that no run of the last two weeks used.
find "$cache" -mindepth 1 -maxdepth 1 \( -name 'lock-*' -o -name 'versions-*' \) \
  -mtime +14 -exec rm -rf {} +

# Runs a function in an environment, and shows its output only if it fails.
#   try NAME VENV FUNCTION
try() {
  local name="$1" venv="$2" function="$3" out code
  touch "$venv"
  out="$(mktemp -d)"
  # Keep the call out of a condition: there bash ignores -e and goes on after a failure.
  set +e
  (set -e; PATH="$venv/bin:$PATH"; "$function" "$out") > "$out.log" 2>&1
  code=$?
  set -e
  if [ "$code" != 0 ]; then
    tail -n 40 "$out.log"
    echo "$name: failed; log: $out.log, environment: $venv"
    return 1
  fi
  rm -rf "$out" "$out.log"
}

# Runs every stage for a few seconds in a folder.
smoke() {
  local config="$PWD/configs/celeba_debug.py" run=(--workdir="$1/run") board=0
  cd "$1"
  python -m pipeline.synthesize --output=faces --num_images=40
  python -m pipeline.prepare --input=faces --output=dataset --image_size=32 --shard_size=8
  python -m pipeline.verify --dataset=dataset
  python -m trainer.doctor --config="$config" --dataset=dataset "${run[@]}"
  python -m trainer.train --config="$config" --dataset=dataset "${run[@]}" \
    --config.num_train_steps=2
  python -m trainer.evaluate "${run[@]}"
  python -m trainer.report "${run[@]}"
  python -m trainer.export "${run[@]}" --output=export
  python -m trainer.tensorboard "${run[@]}" --port=0 > board.txt 2>&1 &
  board=$!
  # TensorBoard prints its address.
  python - board.txt << 'END'
import json, re, sys, time, urllib.request
end = time.monotonic() + 60
while not (found := re.search(r"http://\S+/", open(sys.argv[1]).read())):
    if time.monotonic() > end:
        sys.exit(open(sys.argv[1]).read() or "TensorBoard has not started")
    time.sleep(0.2)
while not (runs := json.load(urllib.request.urlopen(f"{found[0]}data/runs"))):
    if time.monotonic() > end:
        sys.exit("TensorBoard shows no run")
    time.sleep(0.2)
print("TensorBoard shows", ", ".join(runs))
END
  kill -INT "$board" || true
}

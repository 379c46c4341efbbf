#!/usr/bin/env bash
# Runs a Flink cluster with Beam's job server and Python workers on this machine, or this
# machine's part of a cluster of several machines.
#
#   deploy/flink/local.sh up
#   deploy/flink/local.sh run --input=faces --output=dataset
#   deploy/flink/local.sh encode --model=export --dataset=dataset --output=latents
#   deploy/flink/local.sh status
#   deploy/flink/local.sh down
#   deploy/flink/local.sh job-server job-server.jar
#
# `run` runs pipeline.prepare on the cluster, and `encode` runs pipeline.encode. The first
# `up` downloads 110 MB of jars. `job-server` downloads the jars and makes one jar that
# refers to them, for --flink_job_server_jar and any cluster.
# If a task manager or a worker pool dies, the script starts it again, like Kubernetes.
# All services listen at 127.0.0.1, with two exceptions that Beam's Java code makes: the
# job server, and the task managers while a job runs, listen at every address. With
# VAELINE_FLINK_ADDRESS the task managers listen at that address, and the job manager at
# every address.
#
# Environment, with defaults:
#   VAELINE_CACHE=~/.cache/vaeline       folder of the jars
#   VAELINE_FLINK_STATE=$VAELINE_CACHE/flink    logs, process ids and temporary files
#   VAELINE_FLINK_TASK_MANAGERS=2        number of task managers on this machine
#   VAELINE_FLINK_REST_PORT, _RPC_PORT, _JOB_PORT, _POOL_PORT    any free ports
#   VAELINE_FLINK_ADDRESS=127.0.0.1      address at which other machines reach this one
#   VAELINE_FLINK_JOB_MANAGER            address of the machine with the job manager and the
#                                        job server, if it is another machine; all ports
#                                        but _JOB_PORT must be equal there and here
#   VAELINE_MAVEN=https://repo1.maven.org/maven2    source of the jars
#   VAELINE_PYTHON=.venv/bin/python      Python with the requirements of pipeline
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")
cache=${VAELINE_CACHE:-$HOME/.cache/vaeline}
state=${VAELINE_FLINK_STATE:-$cache/flink}
python=${VAELINE_PYTHON:-$root/.venv/bin/python}
maven=${VAELINE_MAVEN:-https://repo1.maven.org/maven2}
num_task_managers=${VAELINE_FLINK_TASK_MANAGERS:-2}
address=${VAELINE_FLINK_ADDRESS:-127.0.0.1}
job_manager=${VAELINE_FLINK_JOB_MANAGER:-$address}
ready_seconds=120
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}

die() {
  echo "error: $*" >&2
  exit 1
}

# Lists the services of this machine, in the order of their starts.
services() {
  [[ $job_manager != "$address" ]] || echo job-manager
  seq -f 'task-manager-%g' "$num_task_managers"
  echo worker-pool
  [[ $job_manager != "$address" ]] || echo job-server
}

# Tells whether the keeper of a service runs. Another process may have got the keeper's id
# since, so the command line is compared too.
is_up() {
  local keeper
  keeper=$(cat "$state/$1.keeper" 2> /dev/null) || return 1
  tr '\0' ' ' < "/proc/$keeper/cmdline" 2> /dev/null | grep -qF " keep $1 $state "
}

free_ports() {
  "$python" -c "from pipeline.process import ports; print(*ports.find_free($1))"
}

# Downloads the jars and checks their hashes. The folder gets its name only if all match.
fetch_jars() {
  local list=$here/jars.sha256 partial
  jars=$cache/jars-$(sha256sum < "$list" | cut -c1-16)
  [[ -d $jars ]] && return
  mkdir -p "$cache"
  partial=$(mktemp -d "$jars.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  echo "downloading $(grep -c '\.jar$' "$list") jars from $maven"
  sed -n "s|^[0-9a-f]\{64\}  \(.*\.jar\)\$|url=\"$maven/\1\"\noutput=\"\1\"|p" "$list" \
    | (cd "$partial" && curl --config - --parallel --create-dirs --fail --location \
      --silent --show-error --retry 3 2> curl.log) \
    || die "download failed: $(grep -m 1 "^curl: " "$partial/curl.log")"
  (cd "$partial" && sha256sum --check --quiet --strict "$list" > check.log 2>&1) \
    || die "download differs from jars.sha256: $(head -n 1 "$partial/check.log")"
  mv "$partial" "$jars"
  trap - EXIT
}

write_configuration() {
  local free bind=127.0.0.1
  # When the job manager receives the jars of a job, it connects to itself as localhost.
  [[ $address == "$bind" ]] || bind=0.0.0.0
  read -ra free <<< "$(free_ports 4)"
  rest_port=${VAELINE_FLINK_REST_PORT:-${free[0]}}
  rpc_port=${VAELINE_FLINK_RPC_PORT:-${free[1]}}
  job_port=${VAELINE_FLINK_JOB_PORT:-${free[2]}}
  pool_port=${VAELINE_FLINK_POOL_PORT:-${free[3]}}
  declare -p num_task_managers address job_manager rest_port job_port pool_port \
    > "$state/cluster"
  sed -e "s|@ADDRESS@|$address|; s|@JOB_MANAGER@|$job_manager|; s|@TMP@|$state/tmp|" \
    -e "s|@JOB_MANAGER_BIND@|$bind|" \
    -e "s|@REST_PORT@|$rest_port|; s|@RPC_PORT@|$rpc_port|" \
    "$here/config.yaml" > "$state/config.yaml"
  {
    cat "$here/java.args"
    echo "-Djava.io.tmpdir=$state/tmp"
    echo "-cp $(find "$jars" -name '*.jar' | sort | paste -sd:)"
  } > "$state/java.args"
}

# Runs a service in place of this process.
serve() {
  local java=(java "@$state/java.args")
  case $1 in
    job-manager)
      exec "${java[@]}" org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint \
        --configDir "$state"
      ;;
    task-manager-*)
      exec "${java[@]}" org.apache.flink.runtime.taskexecutor.TaskManagerRunner \
        --configDir "$state" -Dtaskmanager.resource-id="$address-$1"
      ;;
    worker-pool)
      # Beam starts each worker as `python`.
      PATH=$(dirname "$python"):$PATH \
        exec python "$here/worker_pool.py" "$pool_port"
      ;;
    job-server)
      exec "${java[@]}" org.apache.beam.runners.flink.FlinkJobServerDriver \
        --flink-master="$address:$rest_port" --artifacts-dir="$state/tmp" \
        --job-host=127.0.0.1 --job-port="$job_port" --artifact-port=0 --expansion-port=-1
      ;;
  esac
}

# Starts a service. A task manager or a worker pool that ends is started again, because the
# job manager survives its end.
keep() {
  local name=$1
  while :; do
    serve "$name" >> "$state/$name.log" 2>&1 &
    echo $! > "$state/$name.pid"
    wait $! || true
    [[ $name == task-manager-* || $name == worker-pool ]] || return 1
    sleep 1
  done
}

is_ready() {
  local found
  found=$(curl --silent --fail --max-time 5 \
    "http://$job_manager:$rest_port/taskmanagers") || return 1
  (($(grep -oF "\"id\":\"$address-" <<< "$found" | wc -l) == num_task_managers)) || return 1
  (: < "/dev/tcp/127.0.0.1/$pool_port") 2> /dev/null || return 1
  [[ $job_manager != "$address" ]] || (: < "/dev/tcp/127.0.0.1/$job_port") 2> /dev/null
}

up() {
  local name
  [[ -x $python ]] || die "found no $python: run \`make venv\`, or set VAELINE_PYTHON"
  command -v java > /dev/null || die "no Java: apt-get install default-jre-headless"
  command -v curl > /dev/null || die "no curl: apt-get install curl"
  if [[ $job_manager != "$address" ]]; then
    for name in RPC REST POOL; do
      name=VAELINE_FLINK_${name}_PORT
      [[ -n ${!name:-} ]] || die "$name is not set: set it to the value on $job_manager"
    done
  fi
  for name in $(services); do
    is_up "$name" && die "a cluster is up in $state: stop it with $0 down"
  done
  fetch_jars
  mkdir -p "$state/tmp"
  rm -f "$state"/*.log
  write_configuration
  for name in $(services); do
    setsid "$0" keep "$name" "$state" < /dev/null > /dev/null 2>&1 &
    echo $! > "$state/$name.keeper"
  done
  SECONDS=0
  until is_ready; do
    for name in $(services); do
      ((SECONDS < 5)) || is_up "$name" || fail_up "$name ended"
    done
    ((SECONDS < ready_seconds)) || fail_up "not ready after $ready_seconds s"
    sleep 0.5
  done
  echo "up after $SECONDS s: http://$job_manager:$rest_port, logs in $state"
}

fail_up() {
  down
  die "$1: see $state/*.log"
}

down() {
  local name keepers=()
  for name in $(services); do
    is_up "$name" && keepers+=("$(cat "$state/$name.keeper")")
  done
  if ((${#keepers[@]})); then
    # Each keeper leads its own process group.
    kill -TERM -- "${keepers[@]/#/-}" 2> /dev/null || true
    for _ in {1..50}; do
      kill -0 -- "${keepers[@]/#/-}" 2> /dev/null || break
      sleep 0.1
    done
    kill -KILL -- "${keepers[@]/#/-}" 2> /dev/null || true
  fi
  rm -rf "$state/tmp" "$state"/{cluster,config.yaml,java.args} "$state"/*.{keeper,pid}
}

status() {
  local name code=0
  for name in $(services); do
    if is_up "$name"; then
      echo "$name up $(cat "$state/$name.pid")"
    else
      echo "$name down"
      code=1
    fi
  done
  return "$code"
}

run() {
  submit pipeline.prepare "$@"
}

encode() {
  submit pipeline.encode "$@"
}

job-server() {
  fetch_jars
  "$python" "$here/job_server_jar.py" "$jars" "$1"
}

submit() {
  [[ -f $state/cluster ]] || die "no cluster is up in $state: start one with $0 up"
  exec "$python" -m "$1" --runner=FlinkRunner \
    --job_endpoint="127.0.0.1:$job_port" --environment_type=EXTERNAL \
    --environment_config="127.0.0.1:$pool_port" --parallelism="$num_task_managers" \
    "${@:2}"
}

if [[ -f $state/cluster ]]; then
  # shellcheck source=/dev/null
  . "$state/cluster"
fi
case ${1:-} in
  up | down | status | run | encode | job-server | keep) "$@" ;;
  *) die "usage: $0 up|down|status|run|encode|job-server ARGS..." ;;
esac

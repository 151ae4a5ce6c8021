#!/usr/bin/env bash
# Bring one worker of a TPU node into its SAX cell and keep it there.
#
#   startup.sh boot        at every boot: fetch the servable, pull the images, hand over to systemd
#   startup.sh supervise   the unit saxflow-supervisor: start admin and model server, heal them
#
# What SAX can bear (docs/tpu.md): an admin that died comes back on another port, so that servers
# notice; a model server comes back when the admin has forgotten it; over several hosts all model
# servers restart together, once every worker stands at the same epoch.
#
# Deployment values are JSON (metadata key `saxflow-config`, stored by bootstrap.sh). They are read
# by python3 and used as quoted words only. Nothing is published here.
set -Eeuo pipefail
umask 077

readonly ADMIN=sax-admin SERVER=sax-model-server UNIT=saxflow-supervisor.service
readonly FIRST_SPARE_PORT=10010 LAST_SPARE_PORT=10017 # an admin that comes back uses these in turn
readonly STALE_SECONDS=120 TICK_MS=1000 HASTE_MS=200 LOGS_MS=10000 ADMIN_PAUSE_MS=3000
readonly DOCKER_ATTEMPTS=60 PULL_ATTEMPTS=5 HOPELESS_STARTS=3

root="${SAXFLOW_VM_ROOT:-/}"
root="${root%/}"
readonly root home="$root/var/lib/saxflow"
readonly metadata="http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1"
mode="${1:-boot}"
readonly mode log="$root/var/log/saxflow-$mode.log"
export TZ=UTC DOCKER_CONFIG="$home/docker" # HOME is not set at boot

token="" token_until=0
state=pulling message="" epoch=0 failures=0 admin_failures=0 reported_ms=0 logs_ms=0 own_log=0
phase=barrier not_before_ms=0 peers_ms=0 admin_started_ms=0 alive="" alive_ms=0

# --- JSON, in one place ------------------------------------------------------------------------

read -r -d '' helper <<'PY' || true
import json, os, re, sys, time

verb, home, *args = sys.argv[1:]


def load(name):
    with open(os.path.join(home, name), encoding="utf-8") as file:
        return json.load(file)


def text(config, *keys):
    value = config
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value or any(ord(c) < 32 for c in value):
        sys.exit(f"saxflow-config: {'.'.join(keys)} must be a text of one line")
    return value


def image(config, key):
    value = text(config, "images", key)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*", value):
        sys.exit(f"saxflow-config: images.{key} is no image reference: {value!r}")
    return value


def number(config, key, default=None):
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        sys.exit(f"saxflow-config: {key} must be a number above 0")
    return value


def configuration(worker, hosts):
    """Print what the script needs, one value per line; write the peers' URLs for curl."""
    import urllib.parse

    config = load("config.json")
    root = text(config, "storage_root")
    if not re.fullmatch(r"https?://[A-Za-z0-9.:-]+", root):
        sys.exit("saxflow-config: storage_root is no http(s) root")
    bucket, prefix = text(config, "cells_bucket"), text(config, "cell_prefix")
    media = f"{root}/storage/v1/b/%s/o/%s?alt=media"
    workers = [f"{prefix}/workers/{i}.json" for i in range(int(hosts))]

    def quote(text):
        return urllib.parse.quote(text, safe="")

    upload = f"{root}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=media&name="
    print(upload + quote(workers[int(worker)]), flush=True)  # first: a failure can be reported
    source, _, name = text(config, "servable", "uri").removeprefix("gs://").partition("/")
    generation = text(config, "servable", "generation")
    digest = text(config, "servable", "sha256")
    if not generation.isdecimal() or not re.fullmatch("[0-9a-f]{64}", digest):
        sys.exit("saxflow-config: servable needs generation and sha256")
    lines = [
        f"{media % (quote(source), quote(name))}&generation={generation}",
        digest,
        text(config, "cell"),
        f"{bucket}/{prefix}",
        text(config, "sax_root"),
        image(config, "admin"),
        image(config, "model_server"),
        text(config, "chip"),
        text(config, "topology"),
        str(int(number(config, "admin_port"))),
        str(int(number(config, "server_port"))),
        str(int(1000 * number(config, "heartbeat_seconds", 25))),
        str(int(1000 * number(config, "server_restart_seconds", 35))),
    ]
    print("\n".join(lines))
    escape = os.path.join(home, "peers").replace("\\", "\\\\").replace('"', '\\"')
    urls = [media % (quote(bucket), quote(name)) for name in workers]
    pairs = [f'url = "{url}"\noutput = "{escape}/{i}.json"\n' for i, url in enumerate(urls)]
    with open(os.path.join(home, "peers.curl"), "w", encoding="utf-8") as file:
        file.write("".join(pairs))


def state(worker, name, boot_id, epoch, message, log_file):
    """Print the worker's state object."""
    try:
        with open(log_file, "rb") as file:
            tail = file.read()[-4000:].decode(errors="replace")
    except OSError:
        tail = ""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = {"worker": int(worker), "state": name, "boot_id": boot_id, "epoch": int(epoch)}
    print(json.dumps({**fields, "time": now, "message": message, "log": tail}))


def peers(epoch, stale_seconds):
    """Print the highest epoch of all workers, and how many stand at `epoch`, alive and waiting."""
    import calendar

    known = []
    for name in os.listdir(os.path.join(home, "peers")):
        try:
            peer = load(os.path.join("peers", name))
            age = time.time() - calendar.timegm(time.strptime(peer["time"], "%Y-%m-%dT%H:%M:%SZ"))
            known.append((int(peer["epoch"]), peer["state"], age))
        except (ValueError, KeyError, TypeError):
            continue
    present = [
        e for e, name, age in known
        if e == int(epoch) and name in ("server", "ready") and age < float(stale_seconds)
    ]
    print(max((e for e, _, _ in known), default=0), len(present))


{"configuration": configuration, "state": state, "peers": peers}[verb](*args)
PY

python() { python3 -I -S -c "$helper" "$1" "$home" "${@:2}"; }

# --- metadata and storage ----------------------------------------------------------------------

say() { printf '%(%FT%TZ)T %s\n' -1 "$*"; }

now_ms() {
  local micros="${EPOCHREALTIME//[!0-9]/}"
  echo "$((micros / 1000))"
}

attribute() {
  curl -fsS --retry 10 --retry-connrefused --retry-delay 1 --max-time 10 \
    -H 'Metadata-Flavor: Google' "$metadata/instance/$1"
}

# need_token: sets token, which the metadata server renews long before it ends
need_token() {
  local answer pattern='"access_token" *: *"([^"]+)"'
  if ((SECONDS < token_until)); then return 0; fi
  answer="$(attribute service-accounts/default/token)"
  [[ "$answer" =~ $pattern ]]
  token="${BASH_REMATCH[1]}" token_until="$((SECONDS + 120))"
}

# storage CURL-ARGUMENT... : the token never stands on a command line
storage() {
  need_token
  curl -fsS --retry-all-errors --retry-delay 1 \
    -K <(printf 'header = "Authorization: Bearer %s"\n' "$token") "$@"
}

# report STATE [MESSAGE]: overwrite this worker's state object; trouble to do so is only logged
report() {
  local body tail_file="$log" now
  now="$(now_ms)"
  if [[ "$mode" == supervise ]] && ((own_log == 0)); then
    tail_file="$home/containers.log"
    if [[ "$1" != "$state" ]] || ((now - logs_ms >= LOGS_MS)); then
      container_logs >"$tail_file"
      logs_ms="$now"
    fi
  fi
  state="$1" message="${2:-}" reported_ms="$now"
  body="$(python state "$worker" "$state" "$boot_id" "$epoch" "$message" "$tail_file")"
  storage --retry 3 --max-time 20 -o /dev/null -X POST -H 'Content-Type: application/json' \
    --data-binary "$body" "$upload_url" || say "state $state could not be stored"
}

container_logs() {
  local name
  for name in "$ADMIN" "$SERVER"; do
    if [[ "$name" == "$SERVER" || "$worker" == 0 ]]; then
      echo "== $name"
      docker logs --tail 40 "$name" 2>&1 | tail -c 1900 || true
    fi
  done
}

# --- what went wrong ---------------------------------------------------------------------------

# shellcheck disable=SC2317,SC2329 # called by the trap
on_error() {
  local code=$?
  trap - ERR
  set +e
  say "line $1: $2: exit code $code"
  curl -fsS --max-time 5 -X PUT -H 'Metadata-Flavor: Google' --data failed -o /dev/null \
    "$metadata/instance/guest-attributes/saxflow/state"
  if [[ -z "$upload_url" && -s "$home/config.values" ]]; then
    read -r upload_url <"$home/config.values"
  fi
  if [[ -n "$upload_url" ]]; then
    own_log=1
    report failed "startup.sh $mode failed at line $1 with exit code $code: ${2%%$'\n'*}"
  fi
  exit "$code"
}

# fail MESSAGE: end with a reason of our own
fail() {
  trap - ERR
  say "$1"
  own_log=1
  report failed "$1"
  exit 1
}

# --- identity and configuration ----------------------------------------------------------------

load() {
  local values endpoints commas
  worker="$(attribute attributes/agent-worker-number)"
  endpoints="$(attribute attributes/worker-network-endpoints)"
  commas="${endpoints//[!,]/}"
  hosts=$((${#commas} + 1))
  address="$(attribute network-interfaces/0/ip)"
  [[ "$worker" =~ ^[0-9]+$ && "$address" =~ ^[0-9.]+$ ]]
  boot_id="$(<"$root/proc/sys/kernel/random/boot_id")"
  mkdir -p "$home/peers"
  rm -f "$home/config.values"
  python configuration "$worker" "$hosts" >"$home/config.values"
  mapfile -t values <"$home/config.values"
  upload_url="${values[0]}" servable_url="${values[1]}" servable_sha256="${values[2]}"
  cell="${values[3]}" gsbucket="${values[4]}" sax_root="${values[5]}"
  admin_image="${values[6]}" server_image="${values[7]}"
  chip="${values[8]}" topology="${values[9]}"
  first_admin_port="${values[10]}" server_port="${values[11]}"
  heartbeat_ms="${values[12]}" server_restart_ms="${values[13]}"
}

# recall FILE DEFAULT / remember FILE VALUE: numbers that survive a restart of this script
recall() {
  local value=""
  if [[ -s "$home/$1" ]]; then value="$(<"$home/$1")"; fi
  if [[ "$value" =~ ^[0-9]+$ ]]; then echo "$value"; else echo "$2"; fi
}

remember() {
  echo "$2" >"$home/$1.new"
  mv "$home/$1.new" "$home/$1"
}

# --- boot --------------------------------------------------------------------------------------

boot() {
  load
  look_at_peers
  epoch="$(recall epoch 0)"
  epoch="$((highest_epoch > epoch ? highest_epoch + 1 : epoch + 1))"
  remember epoch "$epoch"
  report booting
  await_docker
  systemctl stop "$UNIT" 2>/dev/null || true
  docker rm -f "$ADMIN" "$SERVER" >/dev/null 2>&1 || true
  rm -f "$root/tmp/libtpu_lockfile"
  use_huge_pages
  fetch_servable
  report pulling
  docker_login
  if [[ "$worker" == 0 ]]; then pull "$admin_image"; fi
  pull "$server_image"
  write_unit
  systemctl daemon-reload
  systemctl restart "$UNIT"
  say "worker $worker of $hosts handed over to $UNIT"
}

await_docker() {
  local attempt
  for ((attempt = 1; attempt <= DOCKER_ATTEMPTS; attempt++)); do
    if docker version >/dev/null 2>&1; then return 0; fi
    sleep 2
  done
  fail "the docker daemon did not come up"
}

use_huge_pages() {
  local knob="$root/sys/kernel/mm/transparent_hugepage/enabled"
  if [[ -w "$knob" ]]; then echo always >"$knob"; fi
}

fetch_servable() {
  mkdir -p "$home/servable"
  storage --retry 5 --max-time 60 -o "$home/servable.new" "$servable_url" ||
    fail "servable.json could not be fetched"
  echo "$servable_sha256  $home/servable.new" | sha256sum --check --quiet - ||
    fail "servable.json does not have the digest of the plan"
  chmod 0644 "$home/servable.new"
  mv "$home/servable.new" "$home/servable/servable.json"
  chmod 0755 "$home/servable"
}

docker_login() {
  local image registry done=""
  for image in "$admin_image" "$server_image"; do
    registry="${image%%/*}"
    if [[ "$registry" == "$done" ]]; then continue; fi
    if [[ "$registry" == *.pkg.dev || "$registry" == gcr.io || "$registry" == *.gcr.io ]]; then
      need_token
      docker login -u oauth2accesstoken --password-stdin "https://$registry" <<<"$token"
      done="$registry"
    fi
  done
}

pull() {
  local attempt output
  for ((attempt = 1; attempt <= PULL_ATTEMPTS; attempt++)); do
    if output="$(docker pull "$1" 2>&1)"; then return 0; fi
    say "docker pull $1: $output"
    if [[ "$output" =~ (manifest unknown|not found|invalid reference|denied|unauthorized) ]]; then
      break
    fi
    sleep "$((attempt * 2))"
  done
  fail "image $1 could not be pulled: ${output##*$'\n'}"
}

write_unit() {
  local unit="$root/etc/systemd/system/$UNIT"
  mkdir -p "${unit%/*}"
  cat >"$unit" <<UNIT
[Unit]
Description=Keeps this worker in its SAX cell
After=docker.service network-online.target

[Service]
Environment="SAXFLOW_VM_ROOT=${SAXFLOW_VM_ROOT:-/}"
Environment="GCE_METADATA_HOST=${GCE_METADATA_HOST:-metadata.google.internal}"
ExecStart=/bin/bash "$home/startup.sh" supervise
Restart=always
RestartSec=2
UNIT
}

# --- the other workers -------------------------------------------------------------------------

# look_at_peers: sets highest_epoch and at_epoch from all workers' state objects, ours included
look_at_peers() {
  peers_ms="$(now_ms)"
  rm -f "$home"/peers/*.json
  storage --parallel --max-time 20 -K "$home/peers.curl" 2>/dev/null || true
  read -r highest_epoch at_epoch < <(python peers "$epoch" "$STALE_SECONDS")
}

# join_epoch EPOCH STATE MESSAGE: stop our model server and wait for the others at this epoch
join_epoch() {
  epoch="$1"
  remember epoch "$epoch"
  docker kill "$SERVER" >/dev/null 2>&1 || true
  await_pruning
  phase=barrier
  report "$2" "$3"
}

# await_pruning: the admin must have forgotten a server that it knew, or it never loads the new one
await_pruning() {
  local seen
  seen="$(recall server_seen_ms 0)"
  not_before_ms="$(($(now_ms) + failures * 2000))"
  if ((seen > 0 && seen + server_restart_ms > not_before_ms)); then
    not_before_ms="$((seen + server_restart_ms))"
  fi
}

# --- containers --------------------------------------------------------------------------------

# running NAME: as docker said at most one tick ago
running() {
  local now
  now="$(now_ms)"
  if ((now - alive_ms >= TICK_MS)); then
    alive="$(docker ps --format '{{.Names}}')"
    alive_ms="$now"
  fi
  [[ $'\n'"$alive"$'\n' == *$'\n'"$1"$'\n'* ]]
}

listening() { (exec 3<>"/dev/tcp/$address/$1") 2>/dev/null; }

next_admin_port() {
  local last
  last="$(recall admin_port 0)"
  if ((last == 0)); then
    echo "$first_admin_port"
  elif ((last < FIRST_SPARE_PORT || last >= LAST_SPARE_PORT)); then
    echo "$FIRST_SPARE_PORT"
  else
    echo "$((last + 1))"
  fi
}

start_admin() {
  admin_port="$(next_admin_port)"
  remember admin_port "$admin_port"
  admin_started_ms="$(now_ms)"
  docker rm -f "$ADMIN" >/dev/null 2>&1 || true
  docker run -d --name "$ADMIN" --network host --log-opt max-size=50m \
    -e "GSBUCKET=$gsbucket" -e "SAX_CELL=$cell" -e "PORT=$admin_port" "$admin_image" >/dev/null
  alive_ms=0
  say "admin server started on port $admin_port"
}

start_server() {
  local options=()
  if [[ "$(getent hosts "$HOSTNAME" | awk '{print $1; exit}')" != "$address" ]]; then
    options+=(--add-host "$HOSTNAME:$address")
  fi
  rm -f "$root/tmp/libtpu_lockfile"
  docker rm -f "$SERVER" >/dev/null 2>&1 || true
  docker run -d --name "$SERVER" --privileged --network host --log-opt max-size=50m \
    --label "saxflow.epoch=$epoch" "${options[@]}" -v "$home/servable:/etc/saxflow:ro" \
    -e "SAX_ROOT=$sax_root" "$server_image" \
    "--sax_cell=$cell" "--port=$server_port" "--platform_chip=$chip" \
    "--platform_topology=$topology" "--host_ordinal=$worker" >/dev/null
  alive_ms=0
  say "model server started at epoch $epoch"
}

# --- supervision -------------------------------------------------------------------------------

supervise() {
  load
  epoch="$(recall epoch 1)"
  admin_port="$(recall admin_port "$first_admin_port")"
  if running "$SERVER"; then phase=starting; else await_pruning; fi
  while true; do
    step
    if [[ "$phase" == ready ]]; then pause "$TICK_MS"; else pause "$HASTE_MS"; fi
  done
}

pause() { sleep "$(($1 / 1000)).$(printf '%03d' "$(($1 % 1000))")"; }

step() {
  local now
  now="$(now_ms)"
  if [[ "$worker" == 0 ]]; then keep_admin "$now"; fi
  if ((hosts > 1)); then follow_peers "$now"; fi
  case "$phase" in
    barrier) await_peers "$now" ;;
    starting) await_server "$now" ;;
    ready) watch_server ;;
  esac
  if ((now - reported_ms >= heartbeat_ms)); then report "$state" "$message"; fi
}

# keep_admin NOW: an admin that died comes back on another port, not too often
keep_admin() {
  if ((admin_started_ms == 0)); then
    if running "$ADMIN"; then admin_started_ms="$1"; else start_admin; fi
  elif (($1 - admin_started_ms >= ADMIN_PAUSE_MS)) && ! running "$ADMIN"; then
    admin_died
  fi
}

admin_died() {
  say "admin server died"
  if [[ "$phase" == ready ]]; then admin_failures=0; else admin_failures=$((admin_failures + 1)); fi
  if ((admin_failures >= HOPELESS_STARTS)); then
    report failed "the admin server ended before it listened, $admin_failures times in a row"
  else
    report "$state" "the admin server died and is started again"
  fi
  start_admin
  if [[ "$state" != failed ]]; then message=""; fi
}

# follow_peers NOW: a peer at a higher epoch has lost its model server, so ours must go too
follow_peers() {
  local every="$heartbeat_ms"
  if [[ "$phase" == barrier ]] && ((every > 2000)); then every=2000; fi
  if (($1 - peers_ms < every)); then return 0; fi
  look_at_peers
  if ((highest_epoch > epoch)); then
    say "a peer stands at epoch $highest_epoch"
    join_epoch "$highest_epoch" server "a peer lost its model server"
  fi
}

# await_peers NOW: over several hosts no server starts before every worker stands at our epoch
await_peers() {
  if (($1 < not_before_ms)) || ((hosts > 1 && at_epoch < hosts)); then
    if [[ "$state" != server && "$state" != failed ]]; then
      report server "waiting for the other workers"
      peers_ms=0
    fi
    return 0
  fi
  start_server
  phase=starting
}

# await_server NOW: the admin server listens long before a model server wants to join it
await_server() {
  local next=server
  if [[ "$worker" == 0 ]] && ! listening "$admin_port"; then next="admin"; fi
  if [[ "$next" == server ]] && listening "$server_port"; then
    phase=ready failures=0
    remember server_seen_ms "$1"
    report ready
  elif ! running "$SERVER"; then
    failures=$((failures + 1))
    server_died
  elif [[ "$state" != "$next" && "$state" != failed ]]; then
    report "$next"
  fi
}

watch_server() {
  if running "$SERVER"; then
    remember server_seen_ms "$(now_ms)"
  else
    server_died
  fi
}

server_died() {
  local reason next=server
  reason="the model server ended with exit code"
  reason+=" $(docker inspect -f '{{.State.ExitCode}}' "$SERVER" 2>/dev/null || echo unknown)"
  say "$reason"
  if ((failures >= HOPELESS_STARTS)); then
    next=failed
    reason+=" before it listened, $failures times in a row"
  fi
  join_epoch "$((highest_epoch > epoch ? highest_epoch + 1 : epoch + 1))" "$next" "$reason"
}

main() {
  mkdir -p "$home" "${log%/*}"
  echo "saxflow: $mode logs to $log"
  exec >>"$log" 2>&1
  trap 'on_error "$LINENO" "$BASH_COMMAND"' ERR
  worker=0 hosts=1 highest_epoch=0 at_epoch=0 boot_id="" upload_url=""
  case "$mode" in
    boot) boot ;;
    supervise) supervise ;;
    *) fail "startup.sh $mode: use boot or supervise" ;;
  esac
}

main

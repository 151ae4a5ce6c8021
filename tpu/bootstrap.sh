#!/usr/bin/env bash
# The node's `startup-script` metadata: fetch startup.sh as the plan pinned it, check it, run it.
#
# It runs as root on every worker at every boot. Everything it is told is JSON in the metadata key
# `saxflow-config`; nothing of it is ever evaluated as shell.
set -Eeuo pipefail
umask 077

root="${SAXFLOW_VM_ROOT:-/}"
home="${root%/}/var/lib/saxflow"
metadata="http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1"
log="${root%/}/var/log/saxflow-bootstrap.log"
mkdir -p "$home" "${log%/*}"
echo "saxflow: bootstrap logs to $log"
exec >>"$log" 2>&1

# describe URL... : prints media URL and digest of startup.sh, upload URL and body of a failed state
read -r -d '' describe <<'PY' || true
import datetime, json, re, sys, urllib.parse
action, config_file, worker, boot_id, log_file = sys.argv[1:6]
config = json.load(open(config_file, encoding="utf-8"))
quote = lambda text: urllib.parse.quote(text, safe="")
root = config["storage_root"]
if not re.fullmatch(r"https?://[A-Za-z0-9.:-]+", root):
    sys.exit("saxflow-config: storage_root is no http(s) root")
if action == "startup":
    bucket, _, name = config["startup"]["uri"].removeprefix("gs://").partition("/")
    generation, digest = config["startup"]["generation"], config["startup"]["sha256"]
    if not re.fullmatch(r"[0-9]+", generation) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        sys.exit("saxflow-config: startup needs generation and sha256")
    print(f"{root}/storage/v1/b/{quote(bucket)}/o/{quote(name)}?alt=media&generation={generation}")
    print(digest)
else:
    name = f"{config['cell_prefix']}/workers/{int(worker)}.json"
    print(f"{root}/upload/storage/v1/b/{quote(config['cells_bucket'])}/o?uploadType=media&name={quote(name)}")
    print(json.dumps({
        "worker": int(worker), "state": "failed", "boot_id": boot_id, "epoch": 0,
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z"),
        "message": "startup.sh could not be fetched and checked",
        "log": open(log_file, encoding="utf-8", errors="replace").read()[-4000:],
    }))
PY

attribute() {
  curl -fsS --retry 10 --retry-connrefused --retry-delay 1 --max-time 10 \
    -H 'Metadata-Flavor: Google' "$metadata/instance/$1"
}

storage() {
  local token='"access_token" *: *"([^"]+)"'
  [[ "$(attribute service-accounts/default/token)" =~ $token ]]
  curl -fsS --retry 5 --retry-all-errors --retry-delay 1 --max-time 60 \
    -K <(printf 'header = "Authorization: Bearer %s"\n' "${BASH_REMATCH[1]}") "$@"
}

# shellcheck disable=SC2317,SC2329 # called by the trap
report() {
  local code=$? failed
  trap - ERR
  set +e
  echo "saxflow: bootstrap failed at line $1 with exit code $code"
  curl -fsS --max-time 5 -X PUT -H 'Metadata-Flavor: Google' --data failed \
    "$metadata/instance/guest-attributes/saxflow/state"
  mapfile -t failed < <(python3 -I -c "$describe" failed "$home/config.json" \
    "$(attribute attributes/agent-worker-number)" \
    "$(<"${root%/}/proc/sys/kernel/random/boot_id")" "$log")
  [[ ${#failed[@]} -eq 2 ]] &&
    storage -X POST -H 'Content-Type: application/json' --data-binary "${failed[1]}" "${failed[0]}"
  exit "$code"
}
trap 'report "$LINENO"' ERR

attribute attributes/saxflow-config >"$home/config.json"
python3 -I -c "$describe" startup "$home/config.json" 0 - - >"$home/startup.pin"
mapfile -t pin <"$home/startup.pin"
storage -o "$home/startup.sh.new" "${pin[0]}"
echo "${pin[1]}  $home/startup.sh.new" | sha256sum --check --quiet -
mv "$home/startup.sh.new" "$home/startup.sh"
exec bash "$home/startup.sh" boot

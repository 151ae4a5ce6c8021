#!/usr/bin/env bash
# Give a stock SAX model server image the params module without deriving an image from it.
#
#   overlay.sh IMAGE DIRECTORY
#
# Copies SAX's all_imports.py out of IMAGE, patches the copy, puts it and saxflow.py into DIRECTORY,
# proves in a throw-away container that the class registers, and prints one `docker run` argument
# per line that mounts both files read-only where the image keeps its code:
#
#   mapfile -t overlay < <(overlay.sh "$image" /var/lib/saxflow/overlay)
#   docker run "${overlay[@]}" ... "$image" ...
set -Eeuo pipefail

usage='usage: overlay.sh IMAGE DIRECTORY'
image=${1:?$usage}
directory=${2:?$usage}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
anchor=saxml/server/pax/lm/params/lm_cloud.py

fail() {
  printf 'overlay.sh: %s\n' "$1" >&2
  exit 1
}

locate() {
  local found
  found=$(docker run --rm --entrypoint find "$image" /usr -path "*/$anchor")
  [[ -n $found ]] || fail "no file $anchor in $image; is it a SAX model server image?"
  [[ $found != *$'\n'* ]] || fail "more than one file $anchor in $image"
  printf '%s\n' "$found"
}

copy_out() {
  local source=$1 target=$2 container
  container=$(docker create "$image")
  docker cp "$container:$source" "$target" >&2 || {
    docker rm "$container" >&2
    fail "cannot copy $source out of $image"
  }
  docker rm "$container" >&2
}

lm_cloud=$(locate)
params=$(dirname "$lm_cloud")
package=$(dirname "$params")
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
copy_out "$package/all_imports.py" "$directory/all_imports.py"
python3 "$here/register.py" patch "$directory/all_imports.py"
install -m 0644 "$here/saxflow.py" "$directory/saxflow.py"

mounts=(
  "--volume=$directory/all_imports.py:$package/all_imports.py:ro"
  "--volume=$directory/saxflow.py:$params/saxflow.py:ro"
)
docker run --rm "${mounts[@]}" --volume="$here:/opt/saxflow:ro" \
  --env=SAXFLOW_SERVABLE=/opt/saxflow/servable.check.json \
  --entrypoint python3 "$image" /opt/saxflow/register.py check >&2
printf '%s\n' "${mounts[@]}"

#!/bin/sh
# Looks at the disk of its host: a check that a procedure starts by process.run. Argument: the least free space in MiB.
set -eu
least=${1:-1}
echo "::rigwire phase preparing Looking at the disk"
free=$(df -Pm "$RIGWIRE_WORK" | awk 'NR == 2 { print $4 }')
echo "::rigwire metric free $free MiB"
echo "::rigwire progress 50 phase=solving $free MiB are free"
df -Pm > "$RIGWIRE_WORK/disks.txt"
echo "::rigwire artifact disks.txt"
if [ "$free" -ge "$least" ]; then
  echo "::rigwire test disk.free passed name=\"free space\" $free of at least $least MiB"
else
  echo "::rigwire test disk.free failed name=\"free space\" $free of at least $least MiB"
  echo "only $free MiB are free, expected $least" >&2
  exit 1
fi
echo "::rigwire output free_mib $free"

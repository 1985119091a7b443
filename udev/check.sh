#!/usr/bin/env bash
# Checks udev rules: their form everywhere, and with udev's own parser where this machine has one. Argument: the file to check.
# UDEVADM names another udevadm. Changes nothing on the machine.
set -euo pipefail
cd "$(dirname "$0")"
rules=$(realpath "${1:-70-rigwire.rules}")
udevadm=${UDEVADM:-$(command -v udevadm || true)}

# One rule per line: tokens KEY{attribute} operator "value", separated by commas. Every GOTO needs its LABEL further down.
check_form() {
  awk -v file="$(basename "$rules")" '
    function complain(text) { printf "%s:%d: %s\n", file, NR, text; bad = 1 }
    /^[[:space:]]*(#|$)/ { next }
    {
      rest = $0
      while (match(rest, /^[[:space:]]*[A-Z_]+(\{[^}"]+\})?(==|!=|\+=|-=|:=|=)"[^"]*"[[:space:]]*/)) {
        token = substr(rest, 1, RLENGTH)
        rest = substr(rest, RLENGTH + 1)
        value = token; sub(/^[^"]*"/, "", value); sub(/".*$/, "", value)
        key = token; gsub(/^[[:space:]]+/, "", key); sub(/[{!=+:-].*/, "", key)
        if (key !~ /^(ACTION|ATTRS?|CONST|DEVPATH|DRIVERS?|ENV|GOTO|GROUP|IMPORT|KERNELS?|LABEL|MODE|NAME|OPTIONS|OWNER|PROGRAM|RESULT|RUN|SECLABEL|SUBSYSTEMS?|SYMLINK|SYSCTL|TAGS?|TEST)$/)
          complain("unknown key " key)
        if (key == "GOTO") goto_line[value] = NR
        if (key == "LABEL") { if (value in goto_line) delete goto_line[value] }
        if (key == "MODE" && value !~ /^0?[0-7][0-7][0-7]$/) complain("mode " value ", expected octal digits such as 0660")
        if (key == "MODE" && value ~ /[2367]$/) complain("mode " value " lets everyone write")
        if (rest == "") next
        if (sub(/^,/, "", rest) == 0) break
      }
      complain("cannot read: " rest)
    }
    END {
      for (label in goto_line) { NR = goto_line[label]; complain("GOTO " label " without a LABEL after it") }
      exit bad
    }' "$rules"
  echo "form: ok"
}

# udev 252 and older have no `verify`. `test` reads every rules file there is and would make links: so in a namespace whose
# /run holds this file alone, on a device that every Linux has.
check_by_test() {
  local output
  if ! output=$(unshare --mount -- bash -euc '
    mount -t tmpfs none /run && mkdir -p /run/udev/rules.d && cp "$1" /run/udev/rules.d/
    "$2" test --action=add /sys/class/mem/null 2>&1 || true' - "$rules" "$udevadm" 2>&1); then
    echo "udev's parser: not asked; udevadm $version has no verify, and test needs root and a mount namespace"
    return
  fi
  if ! grep -qF "Reading rules file: /run/udev/rules.d/$(basename "$rules")" <<<"$output"; then
    echo "udev's parser: not asked; udevadm test did not read the file:"
    tail -n 3 <<<"$output"
    return 1
  fi
  if grep -F "$(basename "$rules"):" <<<"$output"; then
    echo "udev's parser: refused the lines above"
    return 1
  fi
  echo "udev's parser: ok (udevadm $version test)"
}

check_form
if [ -z "$udevadm" ]; then
  echo "udev's parser: not asked; udev is not installed here"
  exit 0
fi
version=$("$udevadm" --version)
if [ "${version%%[!0-9]*}" -ge 254 ]; then
  "$udevadm" verify --resolve-names=never "$rules"
  echo "udev's parser: ok (udevadm $version verify)"
else
  check_by_test
fi

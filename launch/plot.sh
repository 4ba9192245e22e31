#!/bin/bash
# Draws a run's loss in the terminal:  launch/plot.sh RUN [LEVEL [NAME]], where RUN is its directory or metrics.jsonl
#   *  the loss of the training steps, averaged over a column     o  a validation     -  LEVEL, called NAME
set -euo pipefail
help() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; }
case "${1:-}" in
  --help | -h) help; exit 0 ;;
  -*) echo "plot: there is no option '$1'" >&2; help >&2; exit 2 ;;
esac
metrics=${1:-}
if [ -d "$metrics" ]; then metrics=$metrics/metrics.jsonl; fi
if [ ! -r "$metrics" ]; then
  if [ $# -gt 0 ]; then echo "cannot read $metrics" >&2; fi
  help >&2
  exit 2
fi

# Works in mawk, gawk and busybox awk.
awk -v level="${2:-}" -v name="${3:-}" -v width=72 -v height=18 '
  function number(key,   text) {
    if (!match($0, "\"" key "\":-?[0-9.e+-]+")) return ""
    text = substr($0, RSTART, RLENGTH)
    return substr(text, index(text, ":") + 1) + 0
  }
  function row(value) { return int((top - value) / (top - bottom) * (height - 1) + 0.5) }
  function see(value) { if (!seen++ || value > top) top = value; if (seen == 1 || value < bottom) bottom = value }
  { step = number("step"); last = step
    value = number("loss"); if (value != "") loss[step] = value
    value = number("validation_loss"); if (value != "") validation[step] = value }
  END {
    if (!last) { print "no steps yet"; exit }
    for (step in loss) { x = int((step - 1) * width / last); sum[x] += loss[step]; ++count[x] }
    for (x in sum) { mean[x] = sum[x] / count[x]; see(mean[x]) }
    for (step in validation) see(validation[step])
    if (level != "") see(level + 0)
    if (top == bottom) top = bottom + 1
    if (level != "") for (x = 0; x < width; ++x) cell[row(level), x] = "-"
    for (x in mean) cell[row(mean[x]), x] = "*"
    for (step in validation) cell[row(validation[step]), int((step - 1) * width / last)] = "o"
    for (y = 0; y < height; ++y) {
      line = ""
      for (x = 0; x < width; ++x) line = line ((y, x) in cell ? cell[y, x] : " ")
      printf "%8.3f |%s\n", top - y * (top - bottom) / (height - 1), line
    }
    line = sprintf("%" width "s", ""); gsub(/ /, "-", line)
    printf "%8s +%s\n%8s  step 1%*s\n", "loss", line, "", width - 6, last
    printf "%8s  * training  o validation%s\n", "", level == "" ? "" : sprintf("  - %s, %.3f", name, level)
  }' "$metrics"

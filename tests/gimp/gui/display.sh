# GIMP on a virtual display of 1280 x 900 pixels, and hands for it. To be sourced.
export DISPLAY=:1 NO_AT_BRIDGE=1 XDG_RUNTIME_DIR=/tmp/runtime
mkdir -m 700 "$XDG_RUNTIME_DIR"
Xvfb "$DISPLAY" -screen 0 1280x900x24 -nolisten tcp >/tmp/display.log 2>&1 &
until xdpyinfo >/dev/null 2>&1; do sleep 0.1; done
openbox >/dev/null 2>&1 &   # without a window manager, dialogs get no keys
until xprop -root _NET_SUPPORTING_WM_CHECK | grep -q "window id"; do sleep 0.1; done

wait_window() {   # TITLE [SECONDS]: prints the first visible window of that title
  local window
  for i in $(seq $((${2:-30} * 4))); do
    window=$(xdotool search --onlyvisible --name "$1" 2>/dev/null | head -1)
    [ -n "$window" ] && { echo "$window"; return 0; }
    sleep 0.25
  done
  echo "no window named $1" >&2; return 1
}
start_gimp() {   # FILE: sets WIN
  dbus-run-session -- gimp --no-splash "$@" >/tmp/gimp.log 2>&1 &
  WIN=$(wait_window 'GIMP$' 120); sleep 2
  xdotool windowmove "$WIN" 0 0 windowsize --sync "$WIN" 1270 860 windowactivate --sync "$WIN"; sleep 1
}
title() { xdotool getwindowname "$WIN"; }
click() { xdotool mousemove "$1" "$2"; sleep 0.3; xdotool click 1; sleep 1; }   # X Y
park() { xdotool mousemove 1279 899; sleep "${1:-0.7}"; }   # [SECONDS]: no tooltip in the way
shot() { import -window root "$1"; }   # FILE

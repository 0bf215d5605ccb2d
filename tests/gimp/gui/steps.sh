# A user's way through the plug-in, in GIMP's window on a virtual display.
# The current folder has face.png of 600 x 600 pixels; screenshots are left there.
set -e
. "$(dirname "$0")/display.sh"
fail() { echo "$1" >&2; exit 1; }
expect() { for i in $(seq 480); do case "$(title)" in *"$1"*) return 0;; esac; sleep 0.25; done; fail "no $1: $(title)"; }
worker() { grep -lsz 'tinysr_core[.]gimp[.]worker' /proc/[0-9]*/cmdline | cut -d/ -f3; }   # its process number
colours() { shot probe.png; convert probe.png -crop "$1" +repage -format '%k' info:; }   # how many, in WxH+X+Y
checksum() { convert "$1" -crop "$2" +repage rgba:- | md5sum; }   # FILE WxH+X+Y
until_more() { for i in $(seq 240); do [ "$(colours "$1")" -gt "$2" ] && return 0; sleep 0.5; done; fail "nothing to see in $1"; }
search() {   # WORDS: FOUND is how many colours the first line of the list has
  xdotool windowactivate --sync "$WIN" key slash; local window; window=$(wait_window "Search Actions"); sleep 1
  xdotool type "$1"; sleep 2
  eval "$(xdotool getwindowgeometry --shell "$window")"
  FOUND=$(colours "140x24+$((X + 10))+$((Y + 42))"); }
dialog_opens() {   # waits until the preview is there
  DIALOG=$(wait_window "Enlarge with TinySR" 60); sleep 1
  eval "$(xdotool getwindowgeometry --shell "$DIALOG")"
  PREVIEW="300x300+$((X + 500))+$((Y + 90))"; until_more "$PREVIEW" 1000; park; }
choose() {   # KEY UP_OR_DOWN TIMES: in the list that alt+KEY leads to
  xdotool key "alt+$1"; sleep 0.5; for i in $(seq "$3"); do xdotool key "$2"; sleep 0.3; done; sleep 1; }
ok() { xdotool mousemove $((X + WIDTH - 70)) $((Y + HEIGHT - 45)) click 1; sleep 1; }
settled() { while [ -n "$(worker)" ]; do sleep 0.2; done; sleep 2; }   # the plug-in has ended, and takes no more keys
undo() { settled; xdotool windowactivate --sync "$WIN" key ctrl+z; expect "1 layer) 600x600 active=face.png."; sleep 1; }
show_again() { xdotool windowactivate --sync "$WIN" key ctrl+shift+f; dialog_opens; }

echo '(image-title-format "%f (%t, %L) %wx%h active=%n.")' >> "$GIMP3_DIRECTORY/gimprc"
start_gimp face.png
expect "1 layer) 600x600 active=face.png."
click 427 32; click 457 158; park; shot menu.png; xdotool key Escape Escape Escape; sleep 1

echo "the search finds it"
search "zebra TinySR"; [ "$FOUND" -le 5 ] || fail "the search finds what is not there"
xdotool key Escape; sleep 1
for words in "AI" "super resolution" "resize" "enlarge" "upscale"; do
  search "$words TinySR"; [ "$FOUND" -gt 5 ] || fail "the search does not find $words"   # both words in one entry
  [ "$words" = upscale ] || { xdotool key Escape; sleep 1; }
done
shot search.png; xdotool key Return

echo "the preview, and its border"
dialog_opens; shot dialog.png
xdotool mousemove $((X + 640)) $((Y + 200)) mousedown 1; sleep 0.3; xdotool mousemove $((X + 760)) $((Y + 200)); sleep 0.3; xdotool mouseup 1
park; shot split.png
[ "$(checksum dialog.png "$PREVIEW")" != "$(checksum split.png "$PREVIEW")" ] || fail "the border does not move"

echo "another part"
xdotool mousemove $((X + 520)) $((Y + 455)) click 1
for i in $(seq 120); do shot part.png; [ "$(checksum split.png "$PREVIEW")" = "$(checksum part.png "$PREVIEW")" ] || break; sleep 0.5; done
[ "$i" -lt 120 ] || fail "the preview does not move"

echo "output: replace; OK; one step back"
choose u Down 2; shot output.png; ok; expect "1 layer) 1200x1200 active=face.png."; park; settled; shot replaced.png
undo

echo "a given size, also one beyond the largest network"
show_again; choose e Down 3
CORNER="60x60+$((X + 510))+$((Y + 60))"   # of the preview, which the present size does not fill
for i in $(seq 240); do [ "$(colours "$CORNER")" -gt 5 ] || break; sleep 0.5; done; park; shot size.png
xdotool key alt+w ctrl+a; xdotool type 3000; xdotool key Tab; until_more "$CORNER" 50; park; shot beyond.png
xdotool key alt+w ctrl+a; xdotool type 900; xdotool key Tab; sleep 1
ok; expect "1 layer) 900x900 active=face.png."; undo

echo "output: scale this image; OK"
show_again; choose e Up 3; choose u Up 1
ok; shot progress.png
expect "2 layers) 1200x1200 active=face.png (TinySR)."; park; settled; shot result.png

echo "one step back, and again"
undo
xdotool key ctrl+f; expect "2 layers) 1200x1200"
undo

echo "cancel"
xdotool key ctrl+f
for i in $(seq 100); do [ -n "$(worker)" ] && break; sleep 0.1; done
sleep 0.3; shot cancel.png; xdotool mousemove 1000 862; sleep 0.3; xdotool click 1
sleep 1; [ -z "$(worker)" ] || fail "the worker lives on"
case "$(title)" in *"1 layer) 600x600"*) ;; *) fail "cancel left $(title)";; esac

echo "a worker that fails: the dialog comes back"
show_again
kill -KILL "$(worker)"; ok
sleep 8; DIALOG=$(wait_window "Enlarge with TinySR" 60); sleep 4; park; shot again.png
xdotool key Escape; sleep 1

echo "an error is shown once"
rm "$GIMP3_DIRECTORY/plug-ins/tinysr-gimp/runtime.json"
xdotool windowactivate --sync "$WIN" key ctrl+f; wait_window "GIMP Message"; sleep 1; shot error.png
[ "$(xdotool search --onlyvisible --name "GIMP Message" | wc -l)" = 1 ] || fail "more than one message"

# A user's way through the plug-in, in GIMP's window on a virtual display; run_gimp3.sh -g gives the functions.
# The current folder has face.png of 600 x 600 pixels; screenshots are left there.
expect() { for i in $(seq 480); do case "$(title)" in *"$1"*) return 0;; esac; sleep 0.25; done; echo "no $1: $(title)" >&2; return 1; }
workers() { grep -lsz 'tinysr_core[.]gimp[.]server' /proc/[0-9]*/cmdline | wc -l; }
colours() { shot probe.png; convert probe.png -crop "$1" +repage -format '%k' info:; }   # how many, in WxH+X+Y
until_more() { for i in $(seq 240); do [ "$(colours "$1")" -gt "$2" ] && return 0; sleep 0.5; done; echo "nothing to see in $1" >&2; return 1; }
dialog_opens() {   # from the menu, or later by the key that shows the last filter again
  DIALOG=$(wait_window "Enlarge with TinySR" 60); sleep 1
  eval "$(xdotool getwindowgeometry --shell "$DIALOG")"
  PREVIEW="300x300+$((X + 500))+$((Y + 90))"; until_more "$PREVIEW" 1000; park; }
output() { xdotool key alt+u; sleep 0.5; for i in $(seq "$2"); do xdotool key "$1"; sleep 0.3; done; sleep 1; }   # Down or Up, how often
ok() { xdotool mousemove $((X + WIDTH - 70)) $((Y + HEIGHT - 45)) click 1; sleep 1; }

echo '(image-title-format "%f (%t, %L) %wx%h active=%n.")' >> "$(ls "$HOME"/.config/GIMP/3.*/gimprc)"
start_gimp face.png
expect "1 layer) 600x600 active=face.png."
open_filters_enhance; park; shot menu.png; xdotool key Escape Escape Escape; sleep 1

echo "the search finds it"
for words in "upscale" "super resolution" "resize" "enlarge"; do
  xdotool windowactivate --sync "$WIN" key slash; SEARCH=$(wait_window "Search Actions"); sleep 1
  xdotool type "$words"; sleep 2; shot search.png
  eval "$(xdotool getwindowgeometry --shell "$SEARCH")"
  [ "$(colours "140x24+$((X + 10))+$((Y + 42))")" -gt 5 ] || { echo "the search does not find $words" >&2; exit 1; }
  xdotool key Escape; sleep 1
done

echo "the preview, and its border"
open_filters_enhance; click 704 383; dialog_opens; shot dialog.png
BEFORE=$(convert dialog.png -crop "$PREVIEW" +repage rgba:- | md5sum)
xdotool mousemove $((X + 640)) $((Y + 200)) mousedown 1; sleep 0.3; xdotool mousemove $((X + 760)) $((Y + 200)); sleep 0.3; xdotool mouseup 1
park; shot split.png
[ "$BEFORE" != "$(convert split.png -crop "$PREVIEW" +repage rgba:- | md5sum)" ] || { echo "the border does not move" >&2; exit 1; }

echo "output: replace; OK; one step back"
output Down 2; shot output.png; ok; expect "1 layer) 1200x1200 active=face.png."; park 2; shot replaced.png
xdotool windowactivate --sync "$WIN" key ctrl+z; expect "1 layer) 600x600 active=face.png."; sleep 1

echo "output: scale this image; OK"
xdotool key ctrl+shift+f; dialog_opens; output Up 1; sleep 1
xdotool mousemove $((X + WIDTH - 70)) $((Y + HEIGHT - 45)) click 1; sleep 1.5; shot progress.png
expect "2 layers) 1200x1200 active=face.png (TinySR)."; park 2; shot result.png

echo "one step back, and again"
xdotool windowactivate --sync "$WIN" key ctrl+z; expect "1 layer) 600x600 active=face.png."; sleep 1
xdotool key ctrl+f; expect "2 layers) 1200x1200"; sleep 1
xdotool key ctrl+z; expect "1 layer) 600x600"; sleep 1

echo "cancel"
xdotool key ctrl+f
for i in $(seq 100); do [ "$(workers)" = 1 ] && break; sleep 0.1; done
sleep 0.3; shot cancel.png; xdotool mousemove 1000 862; sleep 0.3; xdotool click 1
sleep 1; [ "$(workers)" = 0 ] || { echo "the worker lives on" >&2; exit 1; }
case "$(title)" in *"1 layer) 600x600"*) ;; *) echo "cancel left $(title)" >&2; exit 1;; esac

echo "a worker that fails: the dialog comes back"
xdotool windowactivate --sync "$WIN" key ctrl+shift+f; dialog_opens
kill -KILL $(grep -lsz 'tinysr_core[.]gimp[.]server' /proc/[0-9]*/cmdline | cut -d/ -f3); ok
sleep 8; DIALOG=$(wait_window "Enlarge with TinySR" 60); sleep 4; park; shot again.png
xdotool key Escape; sleep 1

echo "an error is shown once"
rm "$HOME"/.config/GIMP/3.*/plug-ins/tinysr-gimp/runtime.json
xdotool windowactivate --sync "$WIN" key ctrl+f; wait_window "GIMP Message"; sleep 1; shot error.png
[ "$(xdotool search --onlyvisible --name "GIMP Message" | wc -l)" = 1 ]

# A user's way through the plug-in, in GIMP's window on a virtual display; run_gimp3.sh -g gives the functions.
# The current folder has face.png of 600 x 600 pixels; screenshots are left there.
expect() { for i in $(seq 240); do case "$(title)" in *"$1"*) return 0;; esac; sleep 0.25; done; echo "no $1: $(title)" >&2; return 1; }
workers() { grep -lsz 'tinysr_core[.]worker' /proc/[0-9]*/cmdline | wc -l; }

start_gimp face.png
expect "1 layer) 600x600"
open_filters_enhance; park; shot menu.png
click 704 383; DIALOG=$(wait_window "Enlarge with TinySR"); sleep 1
eval "$(xdotool getwindowgeometry --shell "$DIALOG")"; park; shot dialog.png

echo "output: scale this image; OK"
click $((X + 250)) $((Y + 165)); xdotool key Down; sleep 0.3; xdotool key Return; sleep 0.5
xdotool mousemove $((X + WIDTH - 70)) $((Y + HEIGHT - 45)) click 1; sleep 1.5; shot progress.png
expect "2 layers) 1200x1200"; park 2; shot result.png

echo "one step back, and again"
xdotool windowactivate --sync "$WIN" key ctrl+z; expect "1 layer) 600x600"; sleep 1
xdotool key ctrl+f; expect "2 layers) 1200x1200"; sleep 1
xdotool key ctrl+z; expect "1 layer) 600x600"; sleep 1

echo "cancel"
xdotool key ctrl+f
for i in $(seq 100); do [ "$(workers)" = 1 ] && break; sleep 0.1; done
sleep 0.8; shot cancel.png; xdotool mousemove 1000 862; sleep 0.3; xdotool click 1
sleep 1; [ "$(workers)" = 0 ] || { echo "the worker lives on" >&2; exit 1; }
case "$(title)" in "["*"1 layer) 600x600"*) ;; *) echo "cancel left $(title)" >&2; exit 1;; esac

echo "an error is shown once"
rm "$HOME"/.config/GIMP/3.*/plug-ins/tinysr-gimp/runtime.json
xdotool windowactivate --sync "$WIN" key ctrl+f; wait_window "GIMP Message"; sleep 1; shot error.png
[ "$(xdotool search --onlyvisible --name "GIMP Message" | wc -l)" = 1 ]

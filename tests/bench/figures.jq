# SPDX-License-Identifier: Apache-2.0
# Lines of {name, unit, ours, peer, peer_name, note} to the array of figures, with ratio, goal and met. Of lines with one name the last counts; a
# goal without a figure is missed, and says so. Needs --slurpfile goals goals.json, --arg mode and -s.
def rounded: . * 1000 | round / 1000;
def holds($value; $op; $bound): if $value == null then false elif $op == "<=" then $value <= $bound else $value >= $bound end;

$goals[0][$mode] as $goal_of
| (reduce .[] as $line ({}; .[$line.name] = $line) | [.[]]) as $lines
| ($goal_of | keys_unsorted - ($lines | map(.name)) | map({name: ., unit: null, ours: null, peer: null, peer_name: null, note: "not measured"})) as $missing
| $lines + $missing
| map(
	.ours |= (if . then rounded else null end)
	| .peer |= (if . then rounded else null end)
	| .ratio = (if .ours and .peer and .peer != 0 then .ours / .peer | rounded else null end)
	| .goal = $goal_of[.name]
	| .met = (if .goal then (.goal / " ") as [$what, $op, $bound] | holds(if $what == "ratio" then .ratio else .ours end; $op; ($bound | tonumber))
		else null end)
	| {name, unit, ours, peer, peer_name, ratio, goal, met, note}
)

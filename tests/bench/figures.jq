# SPDX-License-Identifier: Apache-2.0
# Lines of {name, unit, ours, peer, peer_name} to the array of figures, with ratio, goal and met. Needs --slurpfile goals goals.json and -s.
def rounded: . * 1000 | round / 1000;
def holds($value; $op; $bound): if $value == null then false elif $op == "<=" then $value <= $bound else $value >= $bound end;

map(
	.ours |= rounded
	| .peer |= (if . then rounded else null end)
	| .ratio = (if .peer and .peer != 0 then .ours / .peer | rounded else null end)
	| .goal = $goals[0][.name]
	| .met = (if .goal then (.goal / " ") as [$what, $op, $bound] | holds(if $what == "ratio" then .ratio else .ours end; $op; ($bound | tonumber))
		else null end)
	| {name, unit, ours, peer, peer_name, ratio, goal, met}
)

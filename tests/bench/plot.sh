#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# plot.sh FIGURES.json TITLE: an SVG on standard output: for each figure that has a peer a bar, to the right where we are better, by how many times;
# a mark where its goal is.
set -euo pipefail
jq -r '
	def more_is_better: .unit | test("IOPS|/s$");
	def times($r): if more_is_better then $r else 1 / $r end;
	.[] | select(.ratio) | (.goal // "" | if startswith("ratio") then split(" ")[2] | tonumber else null end) as $goal |
	[.name, times(.ratio), (if $goal then times($goal) else "-" end), .ratio, (.met | tostring), .peer_name] | @tsv' "$1" |
	awk -F '\t' -v title="$2" '
	function x(times) { # 64 times on either side, logarithmic
		times = log(times) / log(2)
		return 560 + 45 * (times > 6 ? 6 : times < -6 ? -6 : times)
	}
	function text(at, y, anchor, what) {
		gsub(/&/, "\\&amp;", what); gsub(/</, "\\&lt;", what)
		printf "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n", at, y, anchor, what
	}
	{ name[NR] = $1; times[NR] = $2; goal[NR] = $3; ratio[NR] = $4; met[NR] = $5; peer[NR] = $6 }
	END {
		height = 60 + NR * 20
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1100\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n", height
		print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
		text(10, 18, "start", title)
		for (i = -6; i <= 6; i += 2) {
			printf "<path d=\"M%d 45V%d\" stroke=\"%s\"/>\n", 560 + 45 * i, height - 5, i ? "#ddd" : "#666"
			text(560 + 45 * i, 38, "middle", i < 0 ? 2 ^ -i " times worse" : i ? 2 ^ i " times better" : "equal")
		}
		for (i = 1; i <= NR; i++) {
			y = 40 + i * 20
			left = times[i] < 1 ? x(times[i]) : x(1)
			right = times[i] < 1 ? x(1) : x(times[i])
			printf "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"12\" fill=\"%s\"/>\n", left, y - 10, right - left + 1,
				met[i] == "true" ? "#4a8" : met[i] == "false" ? "#d64" : "#79b"
			if (goal[i] != "-")
				printf "<path d=\"M%.1f %dv18\" stroke=\"black\" stroke-width=\"2\"/>\n", x(goal[i]), y - 13
			text(280, y, "end", name[i])
			text(840, y, "start", ratio[i] " of " peer[i])
		}
		print "</svg>"
	}'

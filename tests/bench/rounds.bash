# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the benchmark scripts share: rounds until a time is up, and medians. To be sourced.

n_rounds=0 round_started=0

# another_round RUNS BUDGET: whether to begin one more round: at most RUNS, and after the first only if one as long as the last still ends within
# BUDGET seconds of the script's life.
another_round() {
	if [ "$n_rounds" -gt 0 ]; then
		[ "$n_rounds" -lt "$1" ] || return 1
		[ $((SECONDS + SECONDS - round_started)) -le "$2" ] || return 1
	fi
	round_started=$SECONDS
	n_rounds=$((n_rounds + 1))
}

# The median of a file with a number a line; null when there is none.
median() { sort -g "$1" 2>/dev/null | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : "null" }'; }

# Lines of a file that may be missing.
count() { if [ -f "$1" ]; then wc -l <"$1"; else echo 0; fi; }

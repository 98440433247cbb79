#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# --help and the manual page say the same, in the right place and width.

load lib

setup()
{
	# with it bash and man count characters
	export LC_ALL=C.UTF-8
}

# commands: those that --help lists
commands()
{
	swupd --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p'
}

# listed: the options in a --help, short and long: "-V --version"
listed()
{
	sed -n -E 's/^  (-.|  )[, ] --([a-z0-9-]+).*/\1 --\2/p'
}

fits()
{
	local line
	while IFS= read -r line; do
		[ ${#line} -le 80 ] || fail "${#line} columns: $line"
		[[ $line != *" " && $line != *$'\t'* ]] || fail "blanks: '$line'"
	done <<<"$1"
}

@test "swupd: --help of every command fits, is an answer, and no error" {
	run -0 --separate-stderr swupd
	[[ $output = "usage: swupd COMMAND"* ]]
	[ -z "$stderr" ]
	for option in --help -h; do
		run -0 --separate-stderr swupd $option
		[[ $output = "usage: swupd COMMAND"* ]]
		fits "$output"
	done
	for option in --version -v; do
		run -0 --separate-stderr swupd $option
		assert_output "swupd (Limpid) $(cat "$TOP/ci/version")"
	done
	while IFS= read -r command; do
		run --separate-stderr swupd "$command" --help
		[ "$status" = 0 ] || fail "$command: $status"
		[ -z "$stderr" ] || fail "$command: $stderr"
		[[ $output = "usage: swupd $command "* ]] || fail "$command: $output"
		fits "$output"
		run -0 swupd "$command" -h
	done < <(commands)
	[ "$(commands | wc -l)" -ge 13 ]
}

@test "swupd: each option of --help stands in swupd(8), in its command's place, and the reverse" {
	# "command option short" of both
	man -E UTF-8 -l -Tutf8 "$TOP/swupd/man/swupd.8" | col -bx >"$BATS_TEST_TMPDIR/man"
	awk '
		/^[A-Z]/ { section = $0; next }
		section == "COMMANDS" && /^       [a-z]/ { command = $1; all[++n] = command }
		section == "COMMANDS" && /^       Both take:/ { command = "diagnose,repair" }
		section == "OPTIONS" { command = "*" }
		(section == "COMMANDS" && /^              -/) || (section == "OPTIONS" && /^       -/) {
			line = $0
			short = "  "
			while (match(line, /^[ ,]*--?[a-z]([a-z-]*)?(=[^ ,]*)?|^[ ,]*-[A-Z]/)) {
				word = substr(line, RSTART, RLENGTH)
				line = substr(line, RSTART + RLENGTH)
				gsub(/[ ,]|=.*/, "", word)
				if (word ~ /^-.$/)
					short = word
				else if (word ~ /^--/) {
					print command, short, word
					short = "  "
				}
			}
		}
	' "$BATS_TEST_TMPDIR/man" | sed 's/^diagnose,repair \(.*\)/diagnose \1\nrepair \1/' | LC_ALL=C sort >"$BATS_TEST_TMPDIR/in-man"
	# those of every command come after the command's own
	{
		swupd info --help | sed '1,/of every command/d' | listed | sed 's/^/* /'
		for command in $(commands); do
			swupd "$command" --help | sed '/of every command/,$d' | listed | sed "s/^/$command /"
		done
	} | grep -v '^verify ' | LC_ALL=C sort >"$BATS_TEST_TMPDIR/in-help"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/in-help")" -gt 60 ]
	diff "$BATS_TEST_TMPDIR/in-help" <(grep -v '^verify ' "$BATS_TEST_TMPDIR/in-man")
	# verify has those of repair, and two more
	tr -s ' \n' '  ' <"$BATS_TEST_TMPDIR/man" | grep -q 'with -f, --fix of repair, with -i, --install of os-install'
	diff <(swupd verify --help | sed '1,2d; /-f, --fix/d; /-i, --install/d') <(swupd repair --help | sed 1,2d)
	# commands, too
	diff <(commands | sort) <(awk '/^[A-Z]/ { s = $0 } s == "COMMANDS" && /^       [a-z]/ { print $1 }' "$BATS_TEST_TMPDIR/man" | sort)
}

@test "swupd: what is not known is told on stderr with status 15" {
	for line in nonsense --nonsense -x "update --nonsense" "update -Q" "info --files" "bundle update"; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr swupd $line
		[ "$status" = 15 ] || fail "$line: $status"
		[ -z "$output" ] || fail "$line: $output"
		[[ $stderr = "swupd: "*"hint: 'swupd "*"--help' lists "* ]] || fail "$line: $stderr"
	done
}

@test "swupd: statuses of swupd(8) are those that the program gives" {
	# from the table in main.c, and what stands outside of it
	statuses=$(sed -n '/^} statuses\[\] = {/,/^};/p' "$TOP/swupd/main.c" | grep -oE '\{[A-Z_]+, [0-9]+\}' | grep -oE '[0-9]+' | sort -nu)
	told=$(man -E UTF-8 -l -Tutf8 "$TOP/swupd/man/swupd.8" | col -bx | sed -n '/^EXIT STATUS/,/^[A-Z]*$/p' | grep -oE '[0-9]+:' | tr -d : | sort -nu)
	diff <(printf '0\n32\n%s\n' "$statuses" | sort -nu) <(echo "$told")
}

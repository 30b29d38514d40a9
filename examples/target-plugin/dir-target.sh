#!/bin/sh
# dir-target.sh: a runbook target in shell. It keeps objects as files in a directory.
#
#   sh dir-target.sh DIRECTORY VERB [ARGUMENT ...]
#
# It speaks version 1 of the target plug-in protocol, docs/plugins.md, and passes the conformance suite of backup/targettest. A Go program
# uses it by
#
#   exectarget.New([]string{"/bin/sh", "/usr/local/lib/dir-target.sh", "/srv/backup"}, exectarget.Options{})
#
# Copy it to begin a target of your own. What matters is in the verbs put and commit: put only parks the bytes where no other verb looks,
# because the end of standard input does not mean that the object is complete; commit makes them visible, all at once and never over
# another object.
#
# Layout: DIRECTORY/objects/KEY and DIRECTORY/uploads/UPLOAD. It needs POSIX sh and utilities, link(1), and GNU, BusyBox or BSD stat(1),
# tail(1) and head(1).
set -eu
export LC_ALL=C
umask 077

fail() {
	printf '%s\n' "$*" >&2
	exit 1
}

[ "$#" -ge 2 ] || fail "usage: dir-target.sh DIRECTORY VERB [ARGUMENT ...]"
case $1 in
/*) root=$1 ;;
*) fail "$1: give an absolute directory" ;;
esac
verb=$2
shift 2
objects=$root/objects
uploads=$root/uploads
mkdir -p "$objects" "$uploads"

# A key comes with a slash in front, so that it is never taken for an option and "$objects$key" is its path.
is_object() {
	[ -f "$objects$1" ] && [ ! -h "$objects$1" ]
}

# "object SIZE TIME ./NAME" for each file; GNU and BusyBox take -c, the BSDs -f.
describe='
	if stat -c %s . >/dev/null 2>&1; then
		stat -c "object %s %Y %n" "$@"
	else
		stat -f "object %z %m %N" "$@"
	fi | sed "s|^\(object [0-9]* [0-9]*\) \./|\1 /|"'

# Directories from $1 up to the objects, so that new names survive a power failure.
sync_up() {
	dir=$1
	while [ "$dir" != "$root" ]; do
		[ ! -d "$dir" ] || sync "$dir"
		dir=${dir%/*}
	done
}

case $verb in
hello)
	echo "runbook-target 1"
	echo "can range"
	echo "can probe"
	echo "can sweep"
	echo "can free"
	;;

put) # UPLOAD /KEY
	if is_object "$2"; then
		exit 4
	fi
	cat >"$uploads/$1"
	sync "$uploads/$1"
	echo "size $(($(wc -c <"$uploads/$1")))"
	;;

commit) # UPLOAD /KEY
	object=$objects$2
	try=0
	# link(1) fails if the name is taken, by a file or a directory. A delete may remove the directory in between.
	until mkdir -p "${object%/*}" 2>/dev/null && link "$uploads/$1" "$object" 2>/dev/null; do
		if is_object "$2"; then
			exit 4
		fi
		[ ! -d "$object" ] || fail "a directory has that name, and cannot be an object as well"
		try=$((try + 1))
		[ "$try" -lt 50 ] || link "$uploads/$1" "$object"
	done
	sync_up "${object%/*}"
	rm -f "$uploads/$1"
	;;

abort) # UPLOAD
	rm -f "$uploads/$1"
	;;

get) # /KEY [OFFSET LENGTH]
	is_object "$1" || exit 3
	if [ "$#" -eq 1 ]; then
		exec cat "$objects$1"
	elif [ "$3" -lt 0 ]; then
		exec tail -c "+$(($2 + 1))" "$objects$1"
	else
		tail -c "+$(($2 + 1))" "$objects$1" | head -c "$3"
	fi
	;;

stat) # /KEY
	is_object "$1" || exit 3
	cd "$objects"
	sh -c "$describe" sh ".$1"
	;;

list) # /PREFIX
	cd "$objects"
	folder=.${1%/*}
	[ -d "$folder" ] || exit 0
	# Files that come and go meanwhile are no problem; anything else is.
	exec 3>&1
	problems=$(find "$folder" -type f -exec sh -c "$describe" sh {} + 2>&1 >&3 | grep -v 'No such file or directory') || :
	[ -z "$problems" ] || fail "$problems"
	;;

delete) # /KEY
	is_object "$1" || exit 0
	rm -f "$objects$1"
	dir=${1%/*}
	[ -z "$dir" ] || (cd "$objects" && rmdir -p ".$dir" 2>/dev/null) || :
	sync_up "$objects$dir"
	;;

probe)
	: >"$uploads/.probe.$$"
	rm -f "$uploads/.probe.$$"
	;;

sweep) # TIME, such as 2026-01-31T03:15:00Z
	mark=$uploads/.sweep.$$
	touch -d "$1" "$mark"
	echo "swept $(find "$uploads" -type f ! -newer "$mark" ! -path "$mark" -exec rm -f {} \; -exec echo x \; | wc -l)"
	rm -f "$mark"
	;;

free)
	df -P -k "$root" | awk 'NR == 2 { printf "free %.0f\n", $4 * 1024 }'
	;;

*)
	fail "$verb: no such verb in version 1"
	;;
esac

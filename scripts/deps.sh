#!/usr/bin/env bash
# Installs the programs that are missing for the demo and the tests, on Debian and Ubuntu, as root or with sudo that asks no password. Starts no
# service and creates no database cluster. Elsewhere, or without root, it says what to install, and fails.
#
# usage: deps.sh [postgresql] [ssh] [rsync] [restic]      default: postgresql ssh rsync
set -euo pipefail

[ $# -gt 0 ] || set -- postgresql ssh rsync

# find NAME PLACE... prints the program of that name in PATH or in one of the places.
find_program() {
	local name=$1 place
	shift
	command -v "$name" && return
	for place in "$@"; do
		[ -x "$place/$name" ] && printf '%s\n' "$place/$name" && return
	done
	return 1
}

postgres_places=(/usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin)

have() {
	case $1 in
	postgresql)
		local program
		for program in initdb postgres pg_dump pg_dumpall pg_restore; do
			find_program "$program" "${postgres_places[@]}" >/dev/null || return 1
		done
		local share
		for share in "$(dirname "$(find_program initdb "${postgres_places[@]}")")"/../share/{,postgresql/}extension /usr/share/postgresql/*/extension \
			/usr/pgsql-*/share/extension /opt/homebrew/share/postgresql*/extension; do
			[ -e "$share/hstore.control" ] && return
		done
		return 1
		;;
	ssh)
		find_program sshd /usr/sbin /usr/local/sbin >/dev/null && command -v ssh >/dev/null && command -v sftp >/dev/null
		;;
	*)
		command -v "$1" >/dev/null
		;;
	esac
}

declare -A packages=(
	[postgresql]="postgresql postgresql-contrib"
	[ssh]="openssh-server openssh-client"
	[rsync]="rsync"
	[restic]="restic"
)

missing=()
for need in "$@"; do
	[ -n "${packages[$need]:-}" ] || { echo "deps.sh: $need is not known" >&2; exit 2; }
	# shellcheck disable=SC2206 # split on purpose
	have "$need" || missing+=(${packages[$need]})
done
[ ${#missing[@]} -gt 0 ] || exit 0

give_up() {
	cat >&2 <<-EOF
		Missing: ${missing[*]} (names of Debian's packages).
		$1
		Ask the administrator to install them, or put the directory of your own PostgreSQL programs (initdb, postgres, pg_dump,
		pg_dumpall, pg_restore, with the contrib extensions) and of sshd, ssh, sftp and rsync into PATH. Then run make again. No
		running service is needed: the tests start what they need and stop it again.
	EOF
	exit 1
}

command -v apt-get >/dev/null || give_up "Only Debian and Ubuntu are served by this script; there is no apt-get here."
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null && sudo -n true 2>/dev/null || give_up "Installing them needs root: sudo apt-get install ${missing[*]}"
	as_root=(sudo -n)
fi

echo "deps: installing ${missing[*]} with apt-get; no service is started" >&2

# While packages are installed nothing may start, and no cluster "main" is created. Both are undone, so that later installations by the
# administrator behave as usual.
no_start=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
undo=()
cleanup() {
	[ ${#undo[@]} -eq 0 ] || "${as_root[@]}" rm -f "${undo[@]}"
}
trap cleanup EXIT
if [ ! -e $no_start ]; then
	undo+=($no_start)
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $no_start >/dev/null
	"${as_root[@]}" chmod 755 $no_start
fi
if [ ! -e $no_cluster ]; then
	undo+=($no_cluster)
	"${as_root[@]}" mkdir -p "$(dirname $no_cluster)"
	echo 'create_main_cluster = false' | "${as_root[@]}" tee $no_cluster >/dev/null
fi
had_sshd=no
have ssh && had_sshd=yes

"${as_root[@]}" apt-get update -qq >&2 || echo "deps: apt-get update failed; trying with the lists that are there" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2 ||
	give_up "apt-get could not install them, see above."

# openssh-server also arranges to be started when the machine boots. Nobody asked for that.
if [ $had_sshd = no ] && [[ " ${missing[*]} " == *" openssh-server "* ]] && command -v systemctl >/dev/null; then
	"${as_root[@]}" systemctl disable --quiet ssh.service ssh.socket 2>/dev/null || true
fi

for need in "$@"; do
	have "$need" || give_up "They were installed, but what is needed for \"$need\" is still not found."
done

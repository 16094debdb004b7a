# Completion of listenerctl for bash. The commands and their options are asked of listenerctl, the
# names of scripts of the daemon, if it answers at once.

_listenerctl_words() {
	case $1 in
	--state) echo queued starting running recovering backoff finished lost active no-topic refused fetch-failed ;;
	--outcome) echo success failure signal timeout memory cpu output processes cancelled error lost ;;
	--decision) echo matched unmatched shielded retained repeated rejected ;;
	--script | --as) timeout 0.3 listenerctl --json scripts 2>/dev/null | sed -n 's/^{"name":"\([^"\\]*\)".*/\1/p' ;;
	*) return 1 ;;
	esac
}

_listenerctl() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} table command words i
	COMPREPLY=()
	table=$(listenerctl commands 2>/dev/null) || return
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket) ((i++)) ;;
		-*) ;;
		*) command=${COMP_WORDS[i]} && break ;;
		esac
	done
	if ! words=$(_listenerctl_words "$before"); then
		if [[ -z $command || $command == help ]]; then
			words=$(cut -d ' ' -f 1 <<<"$table")
		elif [[ $word == -* ]]; then
			words=$(sed -n "s/^$command\( \|\$\)//p" <<<"$table")
		elif [[ $command == @(scripts|explain|why|pause|resume|release) ]]; then
			words=$(_listenerctl_words --script)
		elif [[ $command == test ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return
		fi
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _listenerctl listenerctl

/* help.c - examples of each command, for `listenerctl help COMMAND`. */
#include "author.h"

#include <string.h>

#include <util.h>

static const struct {
	const char *command, *examples; /* a line each */
} help_table[] = {
	{ "status", "listenerctl status\nlistenerctl --json status | jq .jobs" },
	{ "check", "listenerctl check || mail -s listenerd root" },
	{ "scripts", "listenerctl scripts\nlistenerctl scripts --state refused" },
	{ "explain", "listenerctl explain create/resource/projects/p1/a.csv\n"
		     "listenerctl explain report.py create/resource/projects/p1/a.csv" },
	{ "why", "listenerctl why create/resource/projects/p1/a.csv" },
	{ "events", "listenerctl events --limit 20\nlistenerctl events --topic 'create/#' --decision unmatched" },
	{ "executors", "listenerctl executors" },
	{ "jobs", "listenerctl jobs --failed --since today\nlistenerctl jobs --script report.py --limit 5" },
	{ "show", "listenerctl show 17\nlistenerctl show 17 --payload" },
	{ "rejected", "listenerctl rejected --limit 5" },
	{ "test", "listenerctl test a.py\n"
		  "listenerctl test a.py create/resource/projects/p1/a.csv\n"
		  "listenerctl sample resource | listenerctl test a.py --event -\n"
		  "listenerctl test --job 17 --set timeout=1min" },
	{ "sample", "listenerctl sample create/resource\nlistenerctl sample update/user/user1 > event" },
	{ "doctor", "listenerctl doctor" },
	{ "reload", "listenerd -t -q && listenerctl reload" },
	{ "rescan", "listenerctl rescan" },
	{ "seen", "listenerctl seen" },
	{ "retry", "listenerctl retry 17 18" },
	{ "replay", "listenerctl replay 17\n"
		    "listenerctl replay --script report.py --failed --since 2h --current --dry-run" },
	{ "cancel", "listenerctl cancel 17" },
	{ "top", "listenerctl top\nlistenerctl top --by waiting -n 1" },
	{ "metrics", "listenerctl metrics" },
	{ "release", "listenerctl release --object create/resource/projects/p1/a.csv --run" },
	{ "holds", "listenerctl holds" },
	{ "pause", "listenerctl pause report.py --for 2h --reason 'archive migration'" },
	{ "resume", "listenerctl resume report.py" },
	{ "commands", "listenerctl commands" },
	{ "help", "listenerctl help test" },
};

const char *help_examples(const char *command)
{
	for (size_t i = 0; i < ELEMENTSOF(help_table); i++)
		if (streq(help_table[i].command, command))
			return help_table[i].examples;
	return NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/machine.h"
#include "swupd/cmd/cmd.h"
#include "swupd/content/digest.h"

struct hashdump_opts {
	bool no_xattrs;
};

static const struct opt hashdump_options[] = {
	{'n', "no-xattrs", OPT_FLAG, offsetof(struct hashdump_opts, no_xattrs), NULL,
	 "no effect: they are never hashed", 0, 0},
	{0},
};

static int hashdump_run(void *context, void *opts, const struct strv *args, struct err *e)
{
	struct machine *m = context;
	const char *file = args->items[0];
	struct digest d = digest_zero;
	char hex[DIGEST_HEX];

	(void)opts;
	/* with --path the name is one inside that root; else what the caller sees from where he is */
	int r = m->opts->path ? file_hash_at(m->root, file + strspn(file, "/"), NULL, &d, e)
			      : file_hash_at(AT_FDCWD, file, NULL, &d, e);
	if (r == -ENOENT) {
		/* the hash of what is not there, as in the predecessor */
		err_clear(e);
		d = digest_zero;
	} else if (r < 0) {
		return r;
	}
	digest_format(&d, hex);
	ui_answer(m->ui, "%s", hex);
	return 0;
}

const struct command cmd_hashdump = {
	.name = "hashdump",
	.args = "FILE",
	.args_min = 1,
	.args_max = 1,
	.summary = "print the hash under which a manifest would list a file",
	.opts = hashdump_options,
	.opts_size = sizeof(struct hashdump_opts),
	.run = hashdump_run,
};

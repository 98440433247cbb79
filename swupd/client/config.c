/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "swupd/base/conf.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/opt.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/format.h"

struct reading {
	const struct opt_table *tables;
	size_t n;
	const char *command, *name;
	struct arena *arena;
	struct ui *ui;
};

static int set_key(void *arg, const char *section, const char *key, const char *value, struct err *e)
{
	const struct reading *r = arg;

	if (*section && strcasecmp(section, "GLOBAL") != 0 && strcasecmp(section, r->command) != 0)
		return 0;
	char *option = arena_strdup(r->arena, key);
	for (char *c = option; *c; c++)
		if (*c == '_')
			*c = '-';
	int result = opt_set(r->tables, r->n, option, arena_strdup(r->arena, value), e);
	if (result != -ENOENT)
		return result;
	/* a global section also has keys of other commands; only our own section is known to be wrong */
	if (*section && strcasecmp(section, "GLOBAL") != 0)
		ui_warn(r->ui, "%s: '%s' has no option '%s'", r->name, r->command, option);
	err_clear(e);
	return 0;
}

int client_config_parse(const char *text, size_t len, const char *name, const struct opt_table *tables, size_t n,
			const char *command, struct arena *arena, struct ui *ui, struct err *e)
{
	struct reading r = {.tables = tables, .n = n, .command = command, .name = name, .arena = arena, .ui = ui};

	return conf_parse(text, len, name, set_key, &r, e);
}

int client_config_load(const struct opt_table *tables, size_t n, const char *command, struct arena *arena,
		       struct ui *ui, struct err *e)
{
	static const char *const files[] = {"/usr/share/defaults/swupd/config", "/etc/swupd/config"};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_(buf_free) struct buf text = {0};
		int r = fs_load(AT_FDCWD, files[i], SMALL_TEXT_MAX, &text, e);
		if (r == -ENOENT || r == -ENOTDIR) {
			err_clear(e);
			continue;
		}
		if (r >= 0)
			r = client_config_parse(text.data, text.len, files[i], tables, n, command, arena, ui, e);
		if (r < 0)
			return r;
	}
	return 0;
}

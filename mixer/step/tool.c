/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/step/cached_tree.h"
#include "mixer/step/generate.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"

#define OUTPUT_MAX (256UL << 20) /* bytes: the indexes of all of Debian's modules have 6 MB */
#define ARGS_MAX   16

static const char *base_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* The dynamic loader lies among the libraries, with Debian's names: /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 */
static const struct node *find_loader(const struct tree *full)
{
	for (size_t i = 0; i < full->n; i++) {
		const struct node *n = &full->nodes[i];
		if (n->attrs.kind == KIND_FILE && text_starts(n->path, "/usr/lib/") &&
		    text_starts(base_of(n->path), "ld-linux"))
			return n;
	}
	return NULL;
}

/* Libraries are those beside the loader and systemd's private ones. *libraries: both directories, as the loader wants them. False: not in the release. */
static bool add_program(const struct tree *full, const char *program, struct tree *to, char **loader, char **libraries)
{
	const struct node *own = tree_find(full, program), *ld = find_loader(full);

	if (!own || own->attrs.kind != KIND_FILE || !ld)
		return false;
	_cleanup_free_ char *dir = xstrndup(ld->path, (size_t)(base_of(ld->path) - ld->path));
	_cleanup_free_ char *private = xasprintf("%ssystemd/", dir);
	tree_add(to, own);
	for (size_t i = 0; i < full->n; i++) {
		const struct node *n = &full->nodes[i];
		const size_t len = (size_t)(base_of(n->path) - n->path);
		if (n->attrs.kind != KIND_DIR && strstr(n->path + len, ".so") &&
		    ((len == strlen(dir) && text_starts(n->path, dir)) ||
		     (len == strlen(private) && text_starts(n->path, private))))
			tree_add(to, n);
	}
	*loader = xstrdup(ld->path + 1);
	*libraries = xasprintf("%s:%s", dir + 1, private + 1);
	return true;
}

/* Nothing of who builds, and where, gets to the program. */
static const char *const clean_env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/", NULL};

static int run_argv(const struct tool *t, const char **head, int dirfd, struct err *e)
{
	const char *argv[ARGS_MAX + 8];
	size_t n = 0;

	while (head[n]) {
		argv[n] = head[n];
		n++;
	}
	for (size_t i = 0; t->args[i] && i < ARGS_MAX; i++)
		argv[n++] = t->args[i];
	argv[n] = NULL;
	return proc_check(&(struct proc){.argv = argv, .env = clean_env, .dirfd = dirfd}, e);
}

static int run_here(const struct tool *t, int dirfd, struct err *e)
{
	const char *head[] = {t->name, NULL};
	int r = run_argv(t, head, dirfd, e);

	return r == -ENOENT ? err_hint(e, r, "a bundle with the package of '%s' will do, too", t->program) : r;
}

static int run(const struct tool *t, const char *loader, const char *libraries, int dirfd, struct err *e)
{
	if (!loader)
		return run_here(t, dirfd, e);
	const char *head[] = {loader, "--library-path", libraries, "--argv0", t->name, t->program + 1, NULL};
	struct err own = ERR_INIT;
	int r = run_argv(t, head, dirfd, &own);
	if (r == -ENOEXEC) {
		err_clear(&own);
		return run_here(t, dirfd, e);
	}
	err_move(e, &own);
	return r;
}

/* What lies at the output's place now and was not there before. */
static int collect_output(const struct mix *m, const struct tool *t, const struct tree *input, int dirfd,
			  struct tree *made, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = fs_list(dirfd, t->dir + 1, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", t->dir, names.items[i]);
		_cleanup_(buf_free) struct buf text = {0};
		if (!text_starts(names.items[i], t->prefix) || tree_find(input, path))
			continue;
		r = fs_load(dirfd, path + 1, OUTPUT_MAX, &text, e);
		if (r >= 0)
			r = generate_file(m, made, path, text.data, text.len, e);
	}
	return r;
}

static int make(const struct mix *m, const struct tool *t, const struct tree *input, const char *loader,
		const char *libraries, struct tree *made, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("/proc/self/fd/%d/.work.XXXXXX", m->cache);

	if (!mkdtemp(path))
		return err_errno(e, "cannot make a directory in the cache");
	_cleanup_close_ int fd = fs_open_dir(AT_FDCWD, path, e);
	int r = fd < 0 ? fd : tree_checkout(input, m->store, fd, e);
	/* kmod looks below /lib/modules or /usr/lib/modules, as it was built */
	if (r >= 0 && symlinkat("usr/lib", fd, "lib") < 0)
		r = err_errno(e, "symlink");
	if (r >= 0)
		r = run(t, loader, libraries, fd, e);
	if (r >= 0)
		r = collect_output(m, t, input, fd, made, e);
	(void)fs_remove_tree(m->cache, base_of(path), NULL);
	return r;
}

static char *key_of(const struct tool *t, const struct tree *input)
{
	_cleanup_(buf_free) struct buf text = {0};
	char hex[DIGEST_HEX];
	struct digest d;

	buf_printf(&text, "%s\n%s\n%s\n", t->name, t->dir, t->prefix);
	for (size_t i = 0; t->args[i]; i++)
		buf_printf(&text, "%s\n", t->args[i]);
	tree_format(input, &text);
	sha256_mem(text.data, text.len, &d);
	digest_format(&d, hex);
	return xasprintf("made/%s", hex);
}

int tool_run(const struct mix *m, const struct tool *t, const struct tree *full, const struct tree *input,
	     struct tree *out, struct err *e)
{
	_cleanup_(tree_freep) struct tree *all = tree_new(), *made = NULL;
	_cleanup_free_ char *loader = NULL, *libraries = NULL;

	for (size_t i = 0; i < input->n; i++)
		tree_add(all, &input->nodes[i]);
	(void)add_program(full, t->program, all, &loader, &libraries);
	tree_sort(all);
	_cleanup_free_ char *key = key_of(t, all);
	made = cached_tree_load(m, key, OUTPUT_MAX);
	if (!made) {
		made = tree_new();
		int r = make(m, t, all, loader, libraries, made, e);
		if (r >= 0)
			r = cached_tree_save(m, key, made, e);
		if (r < 0)
			return err_in(e, r, "%s", t->name);
	}
	for (size_t i = 0; i < made->n; i++)
		tree_add(out, &made->nodes[i]);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/kata.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mixer/image/content.h"
#include "mixer/image/image.h"
#include "mixer/image/verity.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"

#define INIT      "/usr/sbin/init"
#define SYSTEMD   "/usr/lib/systemd/systemd"
#define AGENT     "/usr/bin/kata-agent"
#define UNITS     "/usr/lib/systemd/system"
#define SUMMARY   "/var/lib/osbuilder/osbuilder.yaml"
#define LABEL_MAX 15
#define HOPS_MAX  8 /* links that lead to a file */
#define MIB       (1UL << 20)

/* --- what Kata wants to find ---------------------------------------------------------------------------------------------- */

/* "/usr/sbin" and "../lib/x" are "/usr/lib/x"; the caller frees it. */
static char *join(const char *dir, size_t len, const char *target)
{
	char *path = xasprintf("%.*s/%s", (int)len, dir, target);
	char *to = path;

	if (*target == '/') {
		free(path);
		return xstrdup(target);
	}
	for (const char *from = path; *from;) {
		const char *end = strchrnul(from + 1, '/');
		const size_t n = (size_t)(end - from);
		if (n == 3 && strncmp(from, "/..", 3) == 0)
			while (to > path && *--to != '/')
				;
		else if (n > 1 && !(n == 2 && from[1] == '.')) {
			memmove(to, from, n);
			to += n;
		}
		from = end;
	}
	*to = '\0';
	return path;
}

/* The file at path, or where links at path lead; NULL: none. Directories on the way are no links: the usr-merge's are not used. */
static const struct node *find_file(const struct tree *t, const char *path)
{
	_cleanup_free_ char *at = xstrdup(path);

	for (unsigned i = 0; i < HOPS_MAX; i++) {
		const struct node *n = tree_find(t, at);
		if (!n || n->attrs.kind != KIND_LINK)
			return n && n->attrs.kind == KIND_FILE ? n : NULL;
		char *next = join(at, (size_t)(strrchr(at, '/') - at), n->link);
		free(at);
		at = next;
	}
	return NULL;
}

static bool is_program(const struct tree *t, const char *path)
{
	const struct node *n = find_file(t, path);

	return n && n->attrs.mode & 0111;
}

static int lacks(const char *path, const char *hint, struct err *e)
{
	return err_hint(
		e,
		err_set(e, -ERR_CONFIG, "an image of kind kata needs '%s', and nothing of its bundles is that", path),
		"%s", hint);
}

static int check_root(const struct image_job *job, struct err *e)
{
	static const char *const agent_units[] = {UNITS "/kata-containers.target", UNITS "/kata-agent.service"};
	static const char agent_hint[] = "a bundle that brings Kata's agent adds it, images/README.md says how; "
					 "'agent = none' is for runtimes without it";
	const struct tree *t = job->tree;

	if (!is_program(t, INIT))
		return lacks(INIT, "'init =' makes it a link to what the kernel is to start", e);
	if (job->definition->agent == AGENT_NONE)
		return 0;
	if (job->definition->agent == AGENT_INIT) {
		const struct node *init = find_file(t, INIT), *systemd = find_file(t, SYSTEMD);
		if (systemd && digest_equal(&init->hash, &systemd->hash))
			return err_hint(e, err_set(e, -ERR_CONFIG, "agent = init, but '" INIT "' is systemd"),
					"'init = " AGENT "' makes the agent the first program");
		return 0;
	}
	if (!is_program(t, SYSTEMD))
		return lacks(SYSTEMD, "bundle 'kata-guest' has it; 'agent = init' is for an agent that needs none", e);
	if (!is_program(t, AGENT))
		return lacks(AGENT, agent_hint, e);
	for (size_t i = 0; i < ARRAY_LEN(agent_units); i++)
		if (!find_file(t, agent_units[i]))
			return lacks(agent_units[i], "bundle 'kata-guest' has it", e);
	return 0;
}

/* --- what Kata's tools look for in the file ------------------------------------------------------------------------------- */

/* What kata-collect-data shows of an image. Its time is the release's. */
static void format_summary(const struct image_job *job, struct buf *out)
{
	const struct image_definition *d = job->definition;
	_cleanup_free_ char *time = text_time(job->time);

	time[strlen("2026-11-21")] = 'T';
	time[strlen("2026-11-21T05:18:05")] = '\0';
	buf_printf(out,
		   "---\n"
		   "osbuilder:\n"
		   "  url: \"limpid\"\n"
		   "  version: \"" LIMPID_VERSION "\"\n"
		   "rootfs-creation-time: \"%sZ\"\n"
		   "description: \"image '%s' of release %u\"\n"
		   "file-format-version: \"0.0.2\"\n"
		   "architecture: \"%s\"\n"
		   "base-distro:\n"
		   "  name: \"%s\"\n"
		   "  version: \"%u\"\n"
		   "  packages:\n"
		   "    default:\n",
		   time, d->name, job->release,
		   strcmp(job->m->config->architecture, "amd64") == 0 ? "x86_64" : job->m->config->architecture,
		   job->m->config->name, job->release);
	for (size_t i = 0; i < job->content->n; i++)
		buf_printf(out, "      - \"%s\"\n", job->content->bundles[i].name);
	buf_printf(out,
		   "    extra:\n"
		   "agent:\n"
		   "  url: \"\"\n"
		   "  name: \"%s\"\n"
		   "  version: \"%s\"\n"
		   "  agent-is-init-daemon: \"%s\"\n",
		   d->agent == AGENT_NONE ? "none" : "kata-agent", d->agent == AGENT_NONE ? "" : "unknown",
		   d->agent == AGENT_INIT ? "yes" : "no");
}

/*
 * The image's own /etc and /var, which the first program covers with memory, matter to those who look into the file, and to whoever starts systemd or the agent
 * directly: it mounts its own resolv.conf and machine-id over these, which therefore must be files.
 */
static int add_files(const struct image_job *job, struct tree *t, struct err *e)
{
	static const char *const empty[] = {"/etc/resolv.conf", "/etc/machine-id"};
	_cleanup_(buf_free) struct buf summary = {0};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(empty); i++) {
		const struct node *n = tree_find(job->tree, empty[i]);
		if (!n || n->attrs.kind != KIND_FILE)
			r = image_tree_file(job, t, empty[i], 0644, "", 0, e);
	}
	if (!tree_find(job->tree, "/var/tmp"))
		image_tree_link(t, "/var/tmp", "../tmp");
	format_summary(job, &summary);
	if (r >= 0)
		r = image_tree_file(job, t, SUMMARY, 0644, summary.data, summary.len, e);
	image_tree_end(t);
	return r;
}

/* --- verity --------------------------------------------------------------------------------------------------------------- */

static int add_verity(struct image_job *job, const struct kata_layout *l, const char *device, int fd, struct err *e)
{
	struct verity v = {.data_blocks = l->root_size / VERITY_BLOCK};
	_cleanup_(buf_free) struct buf text = {0}, words = {0};
	_cleanup_free_ char *name = xasprintf("root_hash_%s.txt", job->definition->name);
	_cleanup_free_ char *data = xasprintf("%s1", device), *hash = xasprintf("%s2", device);
	char root[DIGEST_HEX], salt[DIGEST_HEX];

	image_id(job, "verity salt", &v.salt);
	int r = verity_write(fd, l->root_start, l->hash_start, &v, e);
	if (r < 0)
		return err_in(e, r, "hash tree");
	verity_format(&v, &text);
	_cleanup_close_ int out = image_create(job, name, e);
	r = out < 0 ? out : fs_write_at(out, 0, text.data, text.len, e);
	if (r < 0)
		return r;
	image_output(job, name);
	digest_format(&v.root, root);
	digest_format(&v.salt, salt);
	verity_format_cmdline(&v, data, hash, &words);
	image_cmdline(job, words.data);
	image_say_text(job, "verity-root-hash", root);
	image_say_text(job, "verity-salt", salt);
	image_say_number(job, "verity-data-blocks", v.data_blocks);
	image_say_number(job, "hash-offset", l->hash_start);
	image_say_number(job, "hash-bytes", l->hash_size);
	return 0;
}

/* --- the image ------------------------------------------------------------------------------------------------------------ */

static int write_image(struct image_job *job, const struct kata_layout *l, const char *filesystem, const char *name,
		       const char *type, struct err *e)
{
	const char *device = l->device_start ? "/dev/pmem0p" : "/dev/vda";
	_cleanup_free_ char *root = xasprintf("%s1", device);
	_cleanup_close_ int fd = image_create(job, name, e);

	int r = fd < 0 ? fd : kata_layout_write(l, fd, e);
	if (r >= 0)
		r = image_paste(job, filesystem, fd, l->root_start, e);
	if (r < 0)
		return r;
	image_output(job, name);
	image_say_bool(job, "dax-header", l->device_start != 0);
	image_say_number(job, "root-offset", l->root_start);
	image_say_number(job, "root-bytes", l->root_size);
	image_say_bool(job, "verity", l->hash_size != 0);
	/* what is checked is not mapped */
	if (l->hash_size) {
		r = add_verity(job, l, device, fd, e);
		image_root(job, "/dev/dm-0", type, NULL);
		return r;
	}
	image_root(job, root, type, l->device_start ? "dax" : NULL);
	return 0;
}

int image_kata(struct image_job *job, struct err *e)
{
	static const char filesystem[] = ".root";
	const struct image_definition *d = job->definition;
	_cleanup_(tree_freep) struct tree *t = image_tree_copy(job->tree);
	_cleanup_free_ char *name = xasprintf("%s.img", d->name), *label = xstrndup(d->name, LABEL_MAX);
	const char *type = d->filesystem == FILESYSTEM_EROFS ? "erofs" : "ext4";
	const struct image_filesystem_options o = {
		.kind = d->filesystem, .label = label, .id_label = "root", .multiple = MIB};
	struct kata_layout l;
	struct digest id;
	char uuid[UUID_TEXT];
	uint64_t size;

	int r = check_root(job, e);
	if (r >= 0)
		r = add_files(job, t, e);
	if (r >= 0)
		r = image_write_filesystem(job, t, &o, filesystem, &size, e);
	/* Kata's runtime mounts ext4 with data=ordered, which a file system without a journal takes only as its own default */
	const char *ordered[] = {"tune2fs", "-o", "journal_data_ordered", filesystem, NULL};
	if (r >= 0 && d->filesystem == FILESYSTEM_EXT4)
		r = image_run(job, ordered, NULL, NULL, 0, NULL, e);
	if (r < 0)
		return r;
	image_id(job, "disk", &id);
	const uint32_t disk_id =
		id.bytes[0] | (uint32_t)id.bytes[1] << 8 | (uint32_t)id.bytes[2] << 16 | (uint32_t)id.bytes[3] << 24;
	kata_layout_make(size, d->dax_header, d->verity, disk_id, &l);
	image_uuid(job, o.id_label, uuid);
	image_say_text(job, "root-uuid", uuid);
	/* as Kata's runtime says it */
	if (d->agent == AGENT_SYSTEMD)
		image_cmdline(job, "systemd.unit=kata-containers.target");
	return write_image(job, &l, filesystem, name, type, e);
}

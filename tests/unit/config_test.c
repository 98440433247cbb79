/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "tests/unit/test.h"

static int parse(const char *text, struct config **out, struct err *e)
{
	return config_parse(text, strlen(text), "mixer.conf", test_dir(NULL, 0), "/w", out, e);
}

TEST(config_without_text_has_defaults)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct err e = ERR_INIT;

	assert_ok(parse("", &c, &e), &e);
	assert_string_equal(c->architecture, "amd64");
	assert_int_equal(c->format, 30);
	assert_string_equal(c->update_bundle, "os-core-update");
	assert_string_equal(c->content_url, "file:///w/update/www");
	assert_string_equal(c->version_url, "file:///w/update/www");
	assert_string_equal(c->signer.cert, "/w/Swupd_Root.pem");
	assert_string_equal(c->signer.key, "/w/private.pem");
	assert_null(c->signer.command);
	assert_true(c->classic);
	assert_int_equal(c->n_repositories, 5);
	assert_string_equal(c->repositories[2].name, "security");
	assert_string_equal(c->repositories[2].suite, "trixie-security");
	assert_string_equal(c->repositories[2].uri, "apt");
	assert_string_equal(c->repositories[2].components.items[0], "main");
	assert_int_equal(c->repositories[2].priority, 500);
	assert_string_equal(c->repositories[3].suite, "trixie-backports");
	assert_int_equal(c->repositories[3].priority, 100);
	assert_int_equal(c->repositories[4].kind, REPOSITORY_DIRECTORY);
	assert_string_equal(c->repositories[4].path, "/w/local-debs");
	assert_int_equal(c->repositories[4].priority, 900);
	assert_string_equal(c->bundle_dirs.items[0], "/w/local-bundles");
}

/* "#key = value" lines of the template, made live, give the same as no text at all: it shows the truth. */
TEST(config_template_shows_the_defaults)
{
	_cleanup_(config_freep) struct config *none = NULL, *all = NULL;
	_cleanup_(buf_free) struct buf live = {0};
	const char *pos = config_template, *line;
	struct err e = ERR_INIT;
	unsigned shown = 0;
	size_t n;

	while (text_line(&pos, config_template + strlen(config_template), &line, &n, NULL)) {
		bool key = n > 1 && line[0] == '#' && line[1] != ' ';
		/* an empty value is one that depends on others, and the cache on the user */
		bool skip =
			key && (line[n - 1] == '=' || memmem(line, n, "WORKSPACE", 9) || text_starts(line, "#cache"));
		shown += key;
		if (!skip)
			buf_printf(&live, "%.*s\n", (int)(n - key), line + key);
	}
	assert_int_equal(shown, 28); /* keys of [mix], [publish] and [sign]: see the table in config.c */
	assert_ok(parse("", &none, &e), &e);
	assert_ok(parse(live.data ? live.data : "", &all, &e), &e);
	assert_string_equal(all->name, none->name);
	assert_string_equal(all->id, none->id);
	assert_int_equal(all->format, none->format);
	assert_string_equal(all->architecture, none->architecture);
	assert_int_equal(all->bundle_dirs.n, none->bundle_dirs.n);
	for (size_t i = 0; i < all->bundle_dirs.n; i++)
		assert_string_equal(all->bundle_dirs.items[i], none->bundle_dirs.items[i]);
	assert_string_equal(all->update_bundle, none->update_bundle);
	assert_int_equal(all->threads, none->threads);
	assert_int_equal(all->memory, none->memory);
	assert_int_equal(all->executor, none->executor);
	assert_int_equal(all->codec, none->codec);
	assert_int_equal(all->level, none->level);
	assert_int_equal(all->freshness_days, none->freshness_days);
	assert_int_equal(all->cover, none->cover);
	assert_int_equal(all->cover_days, none->cover_days);
	assert_int_equal(all->cache_days, none->cache_days);
	assert_int_equal(all->classic, none->classic);
	assert_int_equal(all->debuginfo, none->debuginfo);
	assert_string_equal(all->signer.cert, none->signer.cert);
	assert_string_equal(all->signer.key, none->signer.key);
	assert_int_equal(all->n_repositories, none->n_repositories);
	for (size_t i = 0; i < all->n_repositories; i++)
		assert_string_equal(all->repositories[i].name, none->repositories[i].name);
}

TEST(config_reads_every_key)
{
	static const char text[] =
		"[mix]\nname = My OS\nid = my\nformat = 7\narchitecture = arm64\nbundles = a /b\n"
		"drop-file = d\nrules-file = r\nupdate-bundle = up\ncache = c\nthreads = 3\n"
		"memory = 4096\nexecutor = slurm\n"
		"[publish]\ncontent-url = https://x/c\nversion-url = https://x/v\ncompression = zstd\nlevel = 19\n"
		"freshness-days = 5\nclassic = no\ndebuginfo = no\n"
		"[sign]\ncertificate = cert\nkey = pkcs11:object=k\n"
		"[repository one]\nuri = https://x/debian\nsuite = sid\ncomponents = main contrib\n"
		"keyring = k.gpg\npriority = 7\ndebug = yes\n"
		"[repository two]\npath = debs\n";
	_cleanup_(config_freep) struct config *c = NULL;
	struct err e = ERR_INIT;

	assert_ok(parse(text, &c, &e), &e);
	assert_string_equal(c->name, "My OS");
	assert_string_equal(c->id, "my");
	assert_int_equal(c->format, 7);
	assert_string_equal(c->architecture, "arm64");
	assert_int_equal(c->bundle_dirs.n, 3);
	assert_string_equal(c->bundle_dirs.items[1], "/w/a");
	assert_string_equal(c->bundle_dirs.items[2], "/b");
	assert_string_equal(c->drop_file, "/w/d");
	assert_string_equal(c->rules_file, "/w/r");
	assert_string_equal(c->update_bundle, "up");
	assert_string_equal(c->cache, "/w/c");
	assert_int_equal(c->threads, 3);
	assert_int_equal(c->memory, 4096);
	assert_int_equal(c->executor, EXECUTOR_SLURM);
	assert_string_equal(c->content_url, "https://x/c");
	assert_string_equal(c->version_url, "https://x/v");
	assert_int_equal(c->codec, CODEC_ZSTD);
	assert_int_equal(c->level, 19);
	assert_int_equal(c->freshness_days, 5);
	assert_false(c->classic);
	assert_false(c->debuginfo);
	assert_string_equal(c->signer.cert, "/w/cert");
	assert_string_equal(c->signer.key, "pkcs11:object=k");
	assert_int_equal(c->n_repositories, 2);
	const struct repository *r = config_repository(c, "one");
	assert_string_equal(r->uri, "https://x/debian");
	assert_string_equal(r->suite, "sid");
	assert_true(r->debug);
	assert_false(config_repository(c, "two")->debug);
	assert_int_equal(r->components.n, 2);
	assert_string_equal(r->keyring, "/w/k.gpg");
	assert_int_equal(r->priority, 7);
	assert_int_equal(config_repository(c, "two")->kind, REPOSITORY_DIRECTORY);
	assert_null(config_repository(c, "three"));
}

TEST(config_command_replaces_the_key)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct err e = ERR_INIT;

	assert_ok(parse("[sign]\ncommand = ssh signer sign\n", &c, &e), &e);
	assert_string_equal(c->signer.command, "ssh signer sign");
	assert_null(c->signer.key);
}

TEST(config_finds_data_files_beside_definitions)
{
	_cleanup_(config_freep) struct config *c = NULL;
	char path[4096];
	_cleanup_close_ int dir = test_dir(path, sizeof(path));
	_cleanup_free_ char *text = xasprintf("[mix]\nbundles = /nowhere %s\n", path);
	_cleanup_free_ char *drops = xasprintf("%s/packages.drop", path);
	struct err e = ERR_INIT;

	assert_ok(fs_save_cache(dir, "packages.drop", "", 0, 0644, &e), &e);
	assert_ok(parse(text, &c, &e), &e);
	assert_string_equal(c->drop_file, drops);
	assert_null(c->rules_file);
}

TEST(config_says_what_is_wrong_and_where)
{
	static const char *const cases[][2] = {
		{"name = x\n", "mixer.conf:1: 'name' stands before the first [section]"},
		{"[mixx]\nname = x\n", "mixer.conf:2: no such section: [mixx]"},
		{"[repository]\nsuite = x\n", "mixer.conf:2: no such section: [repository without a name]"},
		{"[mix]\n\nnmae = x\n", "mixer.conf:3: section [mix] has no key 'nmae'"},
		{"[repository a b]\nsuite = x\n", "mixer.conf:2: 'a b' is no name for a repository"},
		{"[mix]\nformat = 0\n", "mixer.conf:2: format must be a number from 1 to 999999, not '0'"},
		{"[mix]\nthreads = many\n", "mixer.conf:2: threads must be a number from 0 to 256, not 'many'"},
		{"[mix]\nexecutor = cloud\n", "mixer.conf:2: executor is threads or slurm, not 'cloud'"},
		{"[mix]\nid = two words\n", "mixer.conf:2: id must be one word"},
		{"[publish]\ncompression = lzma\n",
		 "mixer.conf:2: compression is zstd, xz, gzip, bzip2 or none, not 'lzma'"},
		{"[publish]\ncompression = xz\nlevel = 19\n", "mixer.conf: level 19: only zstd has levels above 9"},
		{"[publish]\nclassic = true\n", "mixer.conf:2: classic is 'yes' or 'no', not 'true'"},
		{"[sign]\nkey =\n", "mixer.conf: [sign] needs a key or a command"},
		{"[sign]\ncertificate =\n", "mixer.conf: [sign] needs a certificate"},
		{"[repository a]\npriority = 1\n", "mixer.conf: repository 'a' has neither 'suite'"},
		{"[repository a]\nsuite = x\npath = y\n", "mixer.conf: repository 'a' has both 'suite' and 'path'"},
		{"[repository a]\nsuite = x\nuri = mirror\n",
		 "mixer.conf: repository 'a': uri is 'apt' or a URL, not 'mirror'"},
		{"[repository a]\nsuite = x\ncomponents = main,contrib\n",
		 "mixer.conf: repository 'a': 'main,contrib' is no component"},
		{"[mix]\nwords\n", "mixer.conf:2: 'words' is neither"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c = NULL;
		struct err e = ERR_INIT;
		assert_fails(parse(cases[i][0], &c, &e), ERR_CONFIG, &e, cases[i][1]);
	}
}

TEST(config_load_names_a_folder_that_is_no_workspace)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;
	char path[4096];
	_cleanup_close_ int dir = test_dir(path, sizeof(path));

	int r = config_load(path, &c, &e);
	assert_true(e.hint && strstr(e.hint, "'mixer init'"));
	assert_fails(r, ERR_CONFIG, &e, "is no workspace: it has no mixer.conf");
	assert_ok(fs_save_cache(dir, "mixer.conf", "[mix]\nbad = 1\n", 14, 0644, &e), &e);
	assert_fails(config_load(path, &c, &e), ERR_CONFIG, &e, "mixer.conf:2: section [mix] has no key 'bad'");
}

TEST(mix_state_is_read_as_it_was_written)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct mix_state s = {.release = 40, .previous = 30, .format = 31}, got;
	struct err e = ERR_INIT;

	assert_ok(parse("", &c, &e), &e);
	assert_ok(mix_state_load(c, &got, &e), &e);
	assert_int_equal(got.release, 10);
	assert_int_equal(got.previous, 0);
	assert_int_equal(got.format, 30);
	assert_ok(mix_state_save(c, &s, &e), &e);
	assert_ok(mix_state_load(c, &got, &e), &e);
	assert_int_equal(got.release, 40);
	assert_int_equal(got.previous, 30);
	assert_int_equal(got.format, 31);
}

TEST(mix_state_refuses_what_makes_no_sense)
{
	static const char *const cases[][2] = {
		{"release = 10\nprevious = 20\n", "mixer.state: release 10 cannot be below the previous one, 20"},
		{"release = ten\n", "mixer.state:1: release: 'ten' is not a number"},
		{"[x]\nrelease = 10\n", "mixer.state:2: no such key: 'release'"},
		{"release = 0\n", "mixer.state: release 0"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(config_freep) struct config *c = NULL;
		struct mix_state got;
		struct err e = ERR_INIT;
		assert_ok(parse("", &c, &e), &e);
		assert_ok(fs_save_cache(c->dir, "mixer.state", cases[i][0], strlen(cases[i][0]), 0644, &e), &e);
		assert_fails(mix_state_load(c, &got, &e), ERR_CONFIG, &e, cases[i][1]);
	}
}

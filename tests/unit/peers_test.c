/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "mixer/input/tree.h"
#include "mixer/step/peers.h"
#include "swupd/base/mem.h"

/* path, kind, size, and a letter for its content */
struct file {
	const char *path;
	enum file_kind kind;
	uint64_t size;
	char content;
};

static struct tree *tree_of(const struct file *files, size_t n)
{
	struct tree *t = tree_new();

	for (size_t i = 0; i < n && files[i].path; i++) {
		struct node x = {
			.path = files[i].path,
			.attrs = {.kind = files[i].kind, .size = files[i].size},
			.link = files[i].kind == KIND_LINK ? "target" : NULL,
			.origin = "test",
		};
		x.hash.bytes[0] = (uint8_t)files[i].content;
		(void)tree_add(t, &x);
	}
	tree_sort(t);
	return t;
}

static const struct {
	const char *what;
	struct file old[4], new[4];
	const char *path, *want; /* path of new, its peer or NULL */
} cases[] = {
	{"the same path", {{"/a", KIND_FILE, 300, 'a'}}, {{"/a", KIND_FILE, 300, 'b'}}, "/a", "/a"},
	{"an unchanged file", {{"/a", KIND_FILE, 300, 'a'}}, {{"/a", KIND_FILE, 300, 'a'}}, "/a", NULL},
	{"a link before", {{"/a", KIND_LINK, 6, 'a'}}, {{"/a", KIND_FILE, 300, 'b'}}, "/a", NULL},
	{"a link now", {{"/a", KIND_FILE, 300, 'a'}}, {{"/a", KIND_LINK, 6, 'b'}}, "/a", NULL},
	{"moved", {{"/x/a", KIND_FILE, 300, 'a'}}, {{"/y/b", KIND_FILE, 300, 'a'}}, "/y/b", "/x/a"},
	{"copied",
	 {{"/x/a", KIND_FILE, 300, 'a'}},
	 {{"/x/a", KIND_FILE, 300, 'a'}, {"/y/b", KIND_FILE, 300, 'a'}},
	 "/y/b",
	 "/x/a"},
	{"another version",
	 {{"/l/x.so.1.2", KIND_FILE, 300, 'a'}},
	 {{"/l/x.so.1.10", KIND_FILE, 300, 'b'}},
	 "/l/x.so.1.10",
	 "/l/x.so.1.2"},
	{"another version of a small file",
	 {{"/l/x.so.1.2", KIND_FILE, 200, 'a'}},
	 {{"/l/x.so.1.10", KIND_FILE, 300, 'b'}},
	 "/l/x.so.1.10",
	 NULL},
	{"another version in the directory's name",
	 {{"/m/6.1.0-38/a.ko", KIND_FILE, 300, 'a'}, {"/m/6.1.0-38/b.ko", KIND_FILE, 300, 'b'}},
	 {{"/m/6.1.0-40/a.ko", KIND_FILE, 300, 'c'}, {"/m/6.1.0-40/b.ko", KIND_FILE, 300, 'd'}},
	 "/m/6.1.0-40/b.ko",
	 "/m/6.1.0-38/b.ko"},
	{"another hash in its name",
	 {{"/l/x-4f1e.so", KIND_FILE, 300, 'a'}},
	 {{"/l/x-90cb.so", KIND_FILE, 300, 'b'}},
	 "/l/x-90cb.so",
	 "/l/x-4f1e.so"},
	{"a name that is only a hash",
	 {{"/.build-id/4f/1e.debug", KIND_FILE, 300, 'a'}},
	 {{"/.build-id/90/cb.debug", KIND_FILE, 300, 'b'}},
	 "/.build-id/90/cb.debug",
	 NULL},
	{"a folder's name that is only a hash",
	 {{"/4f1e/x.so", KIND_FILE, 300, 'a'}},
	 {{"/90cb/x.so", KIND_FILE, 300, 'b'}},
	 "/90cb/x.so",
	 "/4f1e/x.so"},
	{"a version is more than a hash",
	 {{"/x-1a.so", KIND_FILE, 300, 'a'}, {"/x-1b.so", KIND_FILE, 300, 'b'}},
	 {{"/x-2b.so", KIND_FILE, 300, 'c'}, {"/x-2c.so", KIND_FILE, 300, 'd'}},
	 "/x-2b.so",
	 "/x-1b.so"},
	{"what a version left over has a hash",
	 {{"/x-1a.so", KIND_FILE, 300, 'a'}, {"/x-1b.so", KIND_FILE, 300, 'b'}},
	 {{"/x-2b.so", KIND_FILE, 300, 'c'}, {"/x-2c.so", KIND_FILE, 300, 'd'}},
	 "/x-2c.so",
	 "/x-1a.so"},
	{"a file that stays is nobody's earlier version",
	 {{"/x.1", KIND_FILE, 300, 'a'}},
	 {{"/x.1", KIND_FILE, 300, 'a'}, {"/x.2", KIND_FILE, 300, 'b'}},
	 "/x.2",
	 NULL},
	{"an old file is taken once",
	 {{"/x.1", KIND_FILE, 300, 'a'}},
	 {{"/x.2", KIND_FILE, 300, 'b'}, {"/x.3", KIND_FILE, 300, 'c'}},
	 "/x.3",
	 NULL},
	{"what was moved is not also an earlier version",
	 {{"/x.1", KIND_FILE, 300, 'a'}},
	 {{"/x.2", KIND_FILE, 300, 'b'}, {"/y", KIND_FILE, 300, 'a'}},
	 "/x.2",
	 NULL},
	{"nothing is like it", {{"/x", KIND_FILE, 300, 'a'}}, {{"/y", KIND_FILE, 300, 'b'}}, "/y", NULL},
};

TEST(peers_are_the_files_of_the_same_name_content_or_kind_of_name)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(tree_freep) struct tree *old = tree_of(cases[i].old, ARRAY_LEN(cases[i].old));
		_cleanup_(tree_freep) struct tree *new = tree_of(cases[i].new, ARRAY_LEN(cases[i].new));
		_cleanup_(peers_freep) struct peers *p = peers_new(old, new);
		const struct node *got = peers_find(p, cases[i].path);
		const char *path = got ? got->path : "(none)", *want = cases[i].want ? cases[i].want : "(none)";
		if (strcmp(path, want) != 0)
			fail_msg("%s: %s has %s, not %s", cases[i].what, cases[i].path, path, want);
	}
}

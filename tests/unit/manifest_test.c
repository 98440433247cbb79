/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/content/format.h"
#include "swupd/content/manifest.h"

#define H1 "28cb7c6cad23920f344157f48ae353caca34e9a2f5cff934a4fdaaf7509f2062"
#define H2 "d8331af1eaa9abbbf0496a04907c21e68835c5c55f4e4a92702f031dc7ad6111"
#define H0 "0000000000000000000000000000000000000000000000000000000000000000"

static int parse(const char *text, bool mom, struct manifest **out, struct err *e)
{
	return manifest_parse(text, strlen(text), mom, 10, out, e);
}

/* A manifest of release 10 with this body */
static char *bundle_text(const char *body)
{
	return xasprintf("MANIFEST\t30\nversion:\t10\n\n%s", body);
}

static struct buf load(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", test_vectors(), dir, name);
	struct err e = ERR_INIT;
	struct buf b = {0};

	assert_ok(fs_load(AT_FDCWD, path, MANIFEST_MAX, &b, &e), &e);
	return b;
}

/* Where we differ from the predecessor's client on purpose: it took all of these */
static const struct {
	const char *name, *message;
} refused[] = {
	/* it counts, so that a list cut short (weaknesses.md 2.2) is noticed */
	{"filecount-wrong", "filecount is"},
	/* what is not understood cannot be installed as if it were */
	{"type-unknown", "line 11: unknown type"},
	{"status-unknown", "line 11: unknown status"},
	{"modifier-not-in-alphabet", "line 11: unknown variant"},
	{"misc-letters", "line 14: unknown fourth flag"},
	{"short-flags", "line 11: not four flags"},
	/* no release can have files of a later one; it went on and found nothing to fetch */
	{"last-change-future", "line 11: the release is not a number from 1 to 10"},
	/* names that lead elsewhere (weaknesses.md 1.4), or that no other tool reads the same way */
	{"tab-in-name", "line 11: the name '/usr/z?tab' has a control character"},
	{"name-relative", "line 11: the name 'usr/zrel' is not absolute"},
	{"name-dotdot", "line 11: the name"},
	{"name-double-slash", "line 11: the name"},
	/* it dropped both without a word (weaknesses.md 5) */
	{"duplicate-different-hash", "line 12: this name was there before, with another hash"},
};

static const char *refused_why(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (strcmp(refused[i].name, name) == 0)
			return refused[i].message;
	return NULL;
}

/* The vectors say "filecount: 2" whatever their body has; put in the true count, so that the rest is judged */
static void mend_filecount(struct buf *b)
{
	char *body = strstr(b->data, "\n\n"), *count = strstr(b->data, "filecount:\t2\n");
	size_t lines = 0;

	for (const char *s = body ? body + 2 : ""; *s; s++)
		lines += *s == '\n';
	if (count && lines < 10)
		count[strlen("filecount:\t")] = (char)('0' + lines);
}

static void check_verdict(const char *name, bool original_takes)
{
	_cleanup_free_ char *file = xasprintf("%s.manifest", name);
	_cleanup_(buf_free) struct buf b = load("manifest-parse", file);
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	const char *why = refused_why(name);
	struct err e = ERR_INIT;

	mend_filecount(&b);
	int r = manifest_parse(b.data, b.len, false, 10, &m, &e);
	if (why)
		assert_true(original_takes);
	if (original_takes && !why && r < 0)
		fail_msg("%s: refused: %s", name, e.text);
	if ((!original_takes || why) && r != -ERR_FORMAT)
		fail_msg("%s: %d, not refused", name, r);
	if (why && !strstr(e.text, why))
		fail_msg("%s: '%s' does not have '%s'", name, e.text, why);
	if (r < 0)
		assert_null(m);
	err_clear(&e);
}

TEST(manifest_parse_judges_as_the_predecessor_but_for_a_list)
{
	_cleanup_(buf_free) struct buf b = load("manifest-parse", "index.tsv");
	const char *pos = b.data, *line;
	size_t len, n = 0, differ = 0;

	assert_true(text_line(&pos, b.data + b.len, &line, &len, NULL));
	while (text_line(&pos, b.data + b.len, &line, &len, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		char *tab = strchr(copy, '\t');
		assert_non_null(tab);
		*tab = '\0';
		differ += refused_why(copy) != NULL;
		check_verdict(copy, text_starts(tab + 1, "yes"));
		n++;
	}
	assert_int_equal(n, 38);
	assert_int_equal(differ, ARRAY_LEN(refused));
}

static bool has_variants(const struct manifest *m)
{
	for (size_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].variant != 0)
			return true;
	return false;
}

static void drop_line(struct buf *b, const char *start)
{
	char *line = strstr(b->data, start), *next = strchr(line, '\n') + 1;

	memmove(line, next, strlen(next) + 1);
}

TEST(manifest_filecount_may_be_above_only_with_variants)
{
	static const struct {
		const char *count, *letter;
		bool good;
	} cases[] = {{"1", ".", true}, {"2", ".", false}, {"0", ".", false}, {"2", "a", true}, {"0", "a", false}};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(manifest_freep) struct manifest *m = NULL;
		_cleanup_free_ char *text =
			xasprintf("MANIFEST\t30\nversion:\t10\nfilecount:\t%s\n\nF.%s.\t" H1 "\t10\t/a\n",
				  cases[i].count, cases[i].letter);
		int r = parse(text, false, &m, &e);
		if (cases[i].good)
			assert_ok(r, &e);
		else
			assert_fails(r, ERR_FORMAT, &e, "but there are 1 entries");
	}
}

TEST(manifest_written_again_has_the_same_bytes)
{
	static const char *const trees[] = {
		"www/10", "www/20", "www/30", "www-format-bump/10", "www-format-bump/20", "www-format-bump/30"};
	struct err e = ERR_INIT;
	size_t n = 0;

	for (size_t t = 0; t < ARRAY_LEN(trees); t++) {
		_cleanup_free_ char *dir = xasprintf("%s/%s", test_vectors(), trees[t]);
		_cleanup_(strv_free) struct strv names = {0};
		assert_ok(fs_list(AT_FDCWD, dir, &names, &e), &e);
		for (size_t i = 0; i < names.n; i++) {
			const char *name = names.items[i];
			if (!text_starts(name, "Manifest.") || text_ends(name, ".tar") || text_ends(name, ".sig"))
				continue;
			_cleanup_(buf_free) struct buf b = load(trees[t], name), again = {0};
			_cleanup_(manifest_freep) struct manifest *m = NULL;
			bool mom = strcmp(name, "Manifest.MoM") == 0;
			uint32_t release = (uint32_t)strtoul(strrchr(trees[t], '/') + 1, NULL, 10);
			assert_ok(manifest_parse(b.data, b.len, mom, release, &m, &e), &e);
			manifest_format(m, &again);
			n++;
			bool variants = has_variants(m);
			if (variants) {
				/* their count is of more than the lines (manifest.c, check_filecount) */
				assert_string_not_equal(again.data, b.data);
				drop_line(&b, "filecount:");
				drop_line(&again, "filecount:");
			}
			assert_string_equal(again.data, b.data);

			/* their order is ours, but among the variants of a path it is arbitrary */
			manifest_sort(m);
			buf_free(&again);
			manifest_format(m, &again);
			if (!variants)
				assert_string_equal(again.data, b.data);
		}
	}
	assert_true(n >= 30);
}

TEST(manifest_of_bundles_is_read_whole)
{
	_cleanup_(buf_free) struct buf b = load("www/20", "Manifest.MoM"), extras = load("www/20", "Manifest.extras");
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct err e = ERR_INIT;
	struct digest d;

	assert_ok(manifest_parse(b.data, b.len, true, 20, &m, &e), &e);
	assert_int_equal(m->format, 30);
	assert_int_equal(m->release, 20);
	assert_int_equal(m->previous, 10);
	assert_int_equal(m->timestamp, 1795228393);
	assert_int_equal(m->n_entries, 6);
	assert_string_equal(m->entries[0].name, "os-core-update");
	assert_int_equal(m->entries[0].release, 10);
	const struct entry *x = manifest_find(m, "extras");
	assert_int_equal(x->status, STATUS_EXPERIMENTAL);
	assert_int_equal(x->kind, KIND_BUNDLE);
	assert_true(x->size == SIZE_UNKNOWN);
	manifest_hash(extras.data, extras.len, &d);
	assert_true(digest_equal(&d, &x->hash));
}

TEST(manifest_of_one_kind_is_not_taken_for_the_other)
{
	_cleanup_(buf_free) struct buf mom = load("www/20", "Manifest.MoM"), extras = load("www/20", "Manifest.extras");
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct err e = ERR_INIT;

	assert_fails(manifest_parse(mom.data, mom.len, false, 20, &m, &e), ERR_FORMAT, &e, "line 8: unknown type");
	assert_fails(manifest_parse(extras.data, extras.len, true, 20, &m, &e), ERR_FORMAT, &e,
		     "line 9: a path among the bundles");
	assert_fails(manifest_parse(extras.data, extras.len, false, 30, &m, &e), ERR_FORMAT, &e,
		     "it is of release 20, not 30");
}

TEST(manifest_cut_anywhere_is_refused)
{
	_cleanup_(buf_free) struct buf b = load("www/20", "Manifest.extras");
	struct err e = ERR_INIT;

	for (size_t len = 0; len < b.len; len++) {
		_cleanup_(manifest_freep) struct manifest *m = NULL;
		/* its own allocation, so that the sanitizer sees a read beyond */
		_cleanup_free_ char *copy = xmemdup(b.data, len);
		assert_int_equal(manifest_parse(copy, len, false, 20, &m, &e), -ERR_FORMAT);
		err_clear(&e);
	}
}

TEST(manifest_parse_refuses_what_is_not_well_formed)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "not a manifest"},
		{"\n", "not a manifest"},
		{"MANIFEST 30\nversion:\t10\n\n", "not a manifest"},
		{"MANIFEST\t\nversion:\t10\n\n", "line 1: the format is not a number"},
		{"MANIFEST\t-1\nversion:\t10\n\n", "line 1: the format"},
		{"MANIFEST\t2147483648\nversion:\t10\n\n", "line 1: the format"},
		{"version:\t10\nMANIFEST\t30\n\n", "not a manifest"},
		{"MANIFEST\t30\nversion:\t10\n", "within the header"},
		{"MANIFEST\t30\nprevious:\t0\n\n", "does not tell its version"},
		{"MANIFEST\t30\nversion:\t0\n\n", "line 2: version"},
		{"MANIFEST\t30\nversion:\t10\nversion:\t10\n\n", "line 3: this key was there before"},
		{"MANIFEST\t30\nversion:\t10\nprevious:\tx\n\n", "line 3: previous"},
		{"MANIFEST\t30\nversion:\t10\nfilecount:\t4000001\n\n", "line 3: filecount"},
		{"MANIFEST\t30\nversion:\t10\nfilecount:\t1\n\n", "filecount is 1, but there are 0"},
		{"MANIFEST\t30\nversion:\t10\ncontentsize:\t2000000000001\n\n", "line 3: contentsize"},
		{"MANIFEST\t30\nversion:\t10\nincludes:\t../x\n\n", "line 3: the name '../x' has a character"},
		{"MANIFEST\t30\nversion:\t10\nincludes:\t\n\n", "line 3: a bundle's name cannot be empty"},
		{"MANIFEST\t30\nversion:\t10\nalso-add:\tMoM\n\n", "line 3: the name 'MoM' is reserved"},
		{"MANIFEST\t30\nversion:\t10\nno tab\n\n", "line 3: a line of the header has no TAB"},
		{"MANIFEST\t30\nversion:\t10\r\n\n", "carriage return"},
		{"MANIFEST\t30\nversion:\t10\nattached:\tx\n\n", "line 3: attached:"},
		{"MANIFEST\t30\nversion:\t10\nattached:\t" H1 " 5\n\n", "line 3: attached:"},
		{"MANIFEST\t30\nversion:\t10\nattached:\t" H1 " x lock\n\n", "line 3: the attached file's size"},
		{"MANIFEST\t30\nversion:\t10\nattached:\t" H1 " 5 a/b\n\n",
		 "line 3: an attached file's name has a '/'"},
		{"MANIFEST\t30\nversion:\t10\nattached:\t" H1 " 5 ..\n\n", "line 3: the name '/..'"},
		{"MANIFEST\t30\nversion:\t10\nattached:\t" H1 " 5 \n\n", "line 3: the name '/'"},
		{"MANIFEST\t30\nversion:\t10\nsizes:\t\n\n", "line 3: a size"},
		{"MANIFEST\t30\nversion:\t10\nsizes:\t1  2\n\n", "line 3: a size"},
		{"MANIFEST\t30\nversion:\t10\nsizes:\t1\n\n", "there are 1 sizes, but 0 entries"},
		{"MANIFEST\t30\nversion:\t10\n\n\n", "line 4: an empty line"},
		{"MANIFEST\t30\nversion:\t10\n\nF...\t" H1 "\t10\t/a", "line 4: the last line does not end"},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(manifest_freep) struct manifest *m = NULL;
		assert_fails(parse(cases[i].text, false, &m, &e), ERR_FORMAT, &e, cases[i].message);
	}
}

TEST(manifest_parse_refuses_bad_entries)
{
	static const struct {
		const char *body, *message;
	} cases[] = {
		{"F...\t" H1 "\t0\t/a\n", "the release is not a number from 1 to 10"},
		{"F...\t" H1 "\t11\t/a\n", "the release is not a number from 1 to 10"},
		{"F...\t" H1 "\t+1\t/a\n", "the release is not a number"},
		{"F...\t" H1 "\t\t/a\n", "the release is not a number"},
		{"F...\t" H1 "\t10\t\n", "the name '' is not absolute"},
		{"F...\t" H1 "\t1\t\n", "not four flags"},
		{"F...\t" H1 "\t1234\n", "not four flags"},
		{"F...\t28CB7c6cad23920f344157f48ae353caca34e9a2f5cff934a4fdaaf7509f2062\t10\t/a\n", "the hash is not"},
		{"F...\t" H1 "0\t10\t/a\n", "not four flags"},
		{"F... " H1 "\t10\t/a\n", "not four flags"},
		{"F...\t" H0 "\t10\t/a\n", "the hash must be zero exactly"},
		{".d..\t" H1 "\t10\t/a\n", "the hash must be zero exactly"},
		{".g..\t" H1 "\t10\t/a\n", "the hash must be zero exactly"},
		{"....\t" H1 "\t10\t/a\n", "a path that is present has no type"},
		{"Fe..\t" H1 "\t10\t/a\n", "unknown status"},
		{"F..\x01\t" H1 "\t10\t/a\n", "unknown fourth flag"},
		{"F...\t" H1 "\t10\t/usr/../a\n", "'.' or '..'"},
		{"F...\t" H1 "\t10\t/a/\n", "empty component"},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(manifest_freep) struct manifest *m = NULL;
		_cleanup_free_ char *text = bundle_text(cases[i].body);
		assert_fails(parse(text, false, &m, &e), ERR_FORMAT, &e, cases[i].message);
	}
}

TEST(manifest_with_a_nul_is_refused)
{
	static const char text[] = "MANIFEST\t30\nversion:\t10\n\nF...\t" H1 "\t10\t/a\0b\n";
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct err e = ERR_INIT;

	assert_fails(manifest_parse(text, sizeof(text) - 1, false, 10, &m, &e), ERR_FORMAT, &e, "NUL");
}

TEST(manifest_duplicates_are_dropped_or_refused)
{
	struct err e = ERR_INIT;
	_cleanup_(manifest_freep) struct manifest *m = NULL, *none = NULL;
	_cleanup_free_ char *same = bundle_text("F.d.\t" H1 "\t10\t/a\nF.f.\t" H2 "\t10\t/a\nF.h.\t" H1
						"\t10\t/a\nF.f.\t" H2 "\t9\t/a\nF.h.\t" H1 "\t10\t/a\n");
	_cleanup_free_ char *other = bundle_text("F.d.\t" H1 "\t10\t/a\nF.f.\t" H2 "\t10\t/a\nF.f.\t" H1 "\t10\t/a\n");
	_cleanup_free_ char *status = bundle_text(".d..\t" H0 "\t10\t/a\n.g..\t" H0 "\t10\t/a\n");

	assert_ok(parse(same, false, &m, &e), &e);
	assert_int_equal(m->n_entries, 3);
	assert_int_equal(m->entries[1].release, 10);
	assert_fails(parse(other, false, &none, &e), ERR_FORMAT, &e, "line 6: this name was there before");
	assert_fails(parse(status, false, &none, &e), ERR_FORMAT, &e, "line 5: this name was there before");
}

TEST(manifest_lines_without_a_meaning_are_dropped)
{
	struct err e = ERR_INIT;
	_cleanup_(manifest_freep) struct manifest *m = NULL, *mom = NULL;
	_cleanup_free_ char *text = bundle_text("I...\t" H1 "\t10\tos-core-update-index\nF.v.\t" H1 "\t10\t/a\n"
						"F.x.\t" H1 "\t10\t/b\nFgC.\t" H0 "\t10\t/c\nF.bm\t" H2 "\t10\t/d\n");
	_cleanup_free_ char *bundles =
		bundle_text("Md..\t" H0 "\t10\tgone\nM...\t" H1 "\t10\tb\n.d..\t" H0 "\t10\tx\n");

	assert_ok(parse(text, false, &m, &e), &e);
	assert_int_equal(m->n_entries, 2);
	assert_string_equal(m->entries[0].name, "/c");
	assert_true(m->entries[0].kind == KIND_NONE && m->entries[0].status == STATUS_GHOSTED);
	assert_string_equal(m->entries[1].name, "/d");
	assert_true(m->entries[1].variant == 0 && !m->entries[1].exported);
	assert_ok(parse(bundles, true, &mom, &e), &e);
	assert_int_equal(mom->n_entries, 1);
	assert_string_equal(mom->entries[0].name, "b");
}

TEST(manifest_extension_lines_are_read_and_written)
{
	static const char text[] =
		"MANIFEST\t30\nversion:\t10\nprevious:\t0\nminversion:\t5\nfilecount:\t4\ntimestamp:\t7\n"
		"contentsize:\t8\nincludes:\tos-core\nincludes:\tb\nalso-add:\tc\n"
		"attached:\t" H1 " 12 sbom.spdx.json\nattached:\t" H2 " 0 lock\n"
		"sizes:\t5 - 0 0\n\n"
		"F..x\t" H1 "\t10\t/a\nL...\t" H2 "\t10\t/b\nD...\t" H2 "\t10\t/c\n.d..\t" H0 "\t10\t/d\n";
	static const char split[] =
		"MANIFEST\t30\nsizes:\t5\nversion:\t10\nsizes:\t-\nunknown:\t\nsizes:\t0 0\n\n"
		"F..x\t" H1 "\t10\t/a\nL...\t" H2 "\t10\t/b\nD...\t" H2 "\t10\t/c\n.d..\t" H0 "\t10\t/d\n";
	_cleanup_(manifest_freep) struct manifest *m = NULL, *s = NULL;
	_cleanup_(buf_free) struct buf again = {0};
	struct err e = ERR_INIT;

	assert_ok(parse(text, false, &m, &e), &e);
	assert_int_equal(m->n_attached, 2);
	assert_string_equal(m->attached[0].name, "sbom.spdx.json");
	assert_int_equal(m->attached[0].size, 12);
	assert_int_equal(m->n_includes, 2);
	assert_string_equal(m->includes[1], "b");
	assert_int_equal(m->n_also_add, 1);
	assert_int_equal(m->minversion, 5);
	assert_int_equal(m->contentsize, 8);
	assert_int_equal(m->entries[0].size, 5);
	assert_true(m->entries[1].size == SIZE_UNKNOWN);
	assert_int_equal(m->entries[2].size, 0);
	manifest_format(m, &again);
	assert_string_equal(again.data, text);

	assert_ok(parse(split, false, &s, &e), &e);
	assert_int_equal(s->entries[0].size, 5);
	assert_true(s->entries[1].size == SIZE_UNKNOWN);

	m->format = FORMAT_MINVERSION - 1;
	m->entries[0].size = SIZE_UNKNOWN;
	buf_free(&again);
	manifest_format(m, &again);
	assert_null(strstr(again.data, "minversion"));
	assert_null(strstr(again.data, "also-add"));
	assert_null(strstr(again.data, "sizes"));
}

TEST(manifest_sizes_fit_the_predecessors_line_buffer)
{
	_cleanup_(manifest_freep) struct manifest *m = manifest_new(), *again = NULL;
	_cleanup_(buf_free) struct buf b = {0};
	struct err e = ERR_INIT;
	const char *pos, *line;
	size_t len, lines = 0;

	m->format = 30;
	m->release = 10;
	m->n_entries = 5000;
	m->entries = arena_alloc(m->arena, m->n_entries * sizeof(*m->entries));
	for (size_t i = 0; i < m->n_entries; i++) {
		_cleanup_free_ char *name = xasprintf("/f%05zu", i);
		m->entries[i] = (struct entry){.name = arena_strdup(m->arena, name),
					       .hash = {{1}},
					       .release = 10,
					       .kind = KIND_FILE,
					       .size = i * i * i * i};
	}
	manifest_format(m, &b);
	pos = b.data;
	while (text_line(&pos, b.data + b.len, &line, &len, NULL)) {
		assert_true(len <= 4000);
		lines += text_starts(line, "sizes:\t");
	}
	assert_true(lines > 10);
	assert_ok(manifest_parse(b.data, b.len, false, 10, &again, &e), &e);
	for (size_t i = 0; i < m->n_entries; i++)
		assert_true(again->entries[i].size == i * i * i * i);
}

TEST(manifest_sort_gives_one_order)
{
	struct err e = ERR_INIT;
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_free_ char *text = bundle_text("F...\t" H1 "\t10\t/a/b\nF.e.\t" H1 "\t10\t/a\nF.a.\t" H1 "\t10\t/a\n"
						"D...\t" H1 "\t9\t/z\nF...\t" H1 "\t10\t/a-b\n");
	static const char *const order[] = {"/z", "/a", "/a", "/a-b", "/a/b"};

	assert_ok(parse(text, false, &m, &e), &e);
	manifest_sort(m);
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		assert_string_equal(m->entries[i].name, order[i]);
	assert_int_equal(m->entries[1].variant, 1);
	assert_int_equal(m->entries[2].variant, 4);
}

/* Which letters of one path remain on a CPU of these levels */
static void check_select(const char *letters, unsigned levels, const char *want)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(buf_free) struct buf body = {0};
	struct err e = ERR_INIT;
	char got[8] = "";

	buf_puts(&body, "D...\t" H1 "\t10\t/lib\n");
	for (const char *l = letters; *l; l++)
		buf_printf(&body, "F.%c.\t" H1 "\t10\t/lib/x\n", *l);
	buf_puts(&body, "F...\t" H1 "\t10\t/lib/y\n");
	_cleanup_free_ char *text = bundle_text(body.data);
	assert_ok(parse(text, false, &m, &e), &e);
	manifest_select(m, levels);
	assert_string_equal(m->entries[0].name, "/lib");
	assert_string_equal(m->entries[m->n_entries - 1].name, "/lib/y");
	for (size_t i = 1; i + 1 < m->n_entries; i++)
		got[i - 1] = ".acdefghijklmnopqrtu"[m->entries[i].variant];
	if (strcmp(got, want) != 0)
		fail_msg("%s for levels %u: %s, not %s", letters, levels, got, want);
}

TEST(manifest_select_takes_the_highest_level_that_cpu_and_path_have)
{
	static const struct {
		const char *letters;
		const char *want[8]; /* by levels: bit 0 AVX2, 1 AVX512, 2 APX */
	} cases[] = {
		{".", {".", ".", ".", ".", ".", ".", ".", "."}},
		{"ae", {"a", "e", "a", "e", "a", "e", "a", "e"}},
		{"gc", {"c", "c", "g", "g", "c", "c", "g", "g"}},
		{"hdf", {"d", "f", "h", "h", "d", "f", "h", "h"}},
		{"iq", {"i", "i", "i", "i", "q", "q", "q", "q"}},
		{"jmr", {"j", "m", "j", "m", "r", "r", "r", "r"}},
		{"kot", {"k", "k", "o", "o", "t", "t", "t", "t"}},
		{"lnpu", {"l", "n", "p", "p", "u", "u", "u", "u"}},
		/* lines that do not agree: still one, if any can run */
		{"a", {"a", "a", "a", "a", "a", "a", "a", "a"}},
		{"e", {"", "e", "", "e", "", "e", "", "e"}},
		{".ef", {".", "e", ".", "e", ".", "e", ".", "e"}},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (unsigned levels = 0; levels < 8; levels++)
			check_select(cases[i].letters, levels, cases[i].want[levels]);
}

TEST(manifest_cpu_levels_are_ordered)
{
	unsigned levels = manifest_cpu_levels();

	assert_true(levels < 8);
	if (levels != 0) /* AVX512 and APX only on top of AVX2 */
		assert_true(levels & 1);
#if defined(__x86_64__)
	if (!__builtin_cpu_supports("avx2"))
		assert_int_equal(levels, 0);
#endif
}

TEST(manifest_index_finds_by_name)
{
	_cleanup_(buf_free) struct buf b = load("www/30", "Manifest.full");
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct err e = ERR_INIT;

	assert_ok(manifest_parse(b.data, b.len, false, 30, &m, &e), &e);
	_cleanup_(table_freep) struct table *t = manifest_index(m);
	for (size_t i = 0; i < m->n_entries; i++)
		assert_string_equal(((struct entry *)table_find_str(t, m->entries[i].name))->name, m->entries[i].name);
	assert_null(table_find_str(t, "/usr/bin/nothing"));
	assert_ptr_equal(manifest_find(m, "/usr/bin/hello"), table_find_str(t, "/usr/bin/hello"));
	assert_null(manifest_find(m, "/usr/bin/nothing"));
}

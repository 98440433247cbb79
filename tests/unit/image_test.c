/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/image.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/image/make.h"
#include "mixer/image/sidecar.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/tar.h"
#include "tests/unit/mixed.h"
#include "tests/unit/test.h"

#define FILE_MAX (16UL << 20)

/* Release 10: a base with a shell and an init, an application on it, a kernel of its own. */
static void begin(struct mixed *x)
{
	mixed_begin(x);
	mixed_bundle(x, "app", "os-core");
	mixed_file(x, "/usr/bin/app", 0755, "the application", 15);
	mixed_text(x, "/usr/share/factory/etc/app.conf", "a=1\n");
	mixed_bundle(x, "kernel-guest", "");
	mixed_text(x, "/usr/lib/kernel/guest/vmlinux", "ELF");
	mixed_text(x, "/usr/lib/kernel/guest/bzImage", "MZ");
	mixed_bundle(x, "os-core", "");
	mixed_link(x, "/bin", "usr/bin");
	mixed_file(x, "/usr/bin/sh", 0755, "a shell", 7);
	mixed_file(x, "/usr/bin/su", 04755, "su", 2);
	mixed_link(x, "/usr/sbin/init", "../bin/sh");
	mixed_text(x, "/usr/lib/os-release", "ID=x\n");
	mixed_release(x, 10, 0);
}

/* Make an image from a definition. */
static int make(struct mixed *x, const char *name, const char *text, struct image_made *out, struct err *e)
{
	_cleanup_(image_maker_closep) struct image_maker *k = NULL;
	_cleanup_(image_definition_freep) struct image_definition *d = NULL;

	assert_ok(image_definition_parse(text, strlen(text), name, name, &d, e), e);
	int r = image_maker_open(&x->m, 10, &k, e);
	return r < 0 ? r : image_make(k, d, false, out, e);
}

static void load(const struct mixed *x, const char *path, struct buf *out)
{
	struct err e = ERR_INIT;

	out->len = 0;
	assert_ok(fs_load(x->config.dir, path, FILE_MAX, out, &e), &e);
}

/* "path kind mode size link" of each member, a line each */
static void list_tar(const struct buf *text, struct buf *out)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct tar_member member;
	struct err e = ERR_INIT;
	int r;

	buf_puts(out, "");
	assert_ok(tar_open_mem(text->data, text->len, &t, &e), &e);
	while ((r = tar_next(t, &member, &e)) > 0)
		buf_printf(out, "%s %c %o %llu %s\n", member.name, ".FDL"[member.attrs.kind], member.attrs.mode,
			   (unsigned long long)member.attrs.size, member.link ? member.link : "");
	assert_ok(r, &e);
}

TEST(a_tar_has_what_a_machine_with_its_bundles_has)
{
	_cleanup_(image_made_clear) struct image_made made = {0};
	_cleanup_(buf_free) struct buf text = {0}, list = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	begin(&x);
	assert_int_equal(make(&x, "t", "kind = tar\nbundles = app\netc = factory\ncompress = none\n", &made, &e), 0);
	assert_string_equal(made.path, "update/images/10/t.tar");
	load(&x, made.path, &text);
	assert_int_equal(made.bytes, text.len);
	list_tar(&text, &list);
	assert_string_equal(list.data, "./ D 755 0 \n"
				       "bin L 0 7 usr/bin\n"
				       "etc/app.conf F 644 4 \n"
				       "usr/ D 755 0 \n"
				       "usr/bin/ D 755 0 \n"
				       "usr/bin/app F 755 15 \n"
				       "usr/bin/sh F 755 7 \n"
				       "usr/bin/su F 4755 2 \n"
				       "usr/lib/ D 755 0 \n"
				       "usr/lib/os-release F 644 5 \n"
				       "usr/sbin/ D 755 0 \n"
				       "usr/sbin/init L 0 9 ../bin/sh\n"
				       "usr/share/ D 755 0 \n"
				       "usr/share/factory/ D 755 0 \n"
				       "usr/share/factory/etc/ D 755 0 \n"
				       "usr/share/factory/etc/app.conf F 644 4 \n");
	mixed_end(&x);
}

TEST(an_initrd_is_a_cpio_archive_with_an_init)
{
	_cleanup_(image_made_clear) struct image_made made = {0};
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *cmdline = NULL, *vmlinux = NULL;
	struct err e = ERR_INIT;
	struct mixed x;

	begin(&x);
	assert_int_equal(make(&x, "i",
			      "kind = initrd\nbundles = os-core\nkernel = guest\ncompress = none\ncmdline = quiet\n"
			      "state = empty\n",
			      &made, &e),
			 0);
	load(&x, made.path, &text);
	/* the first member whole: the root, inode 1, mode 040755, two links, a name of two bytes */
	assert_memory_equal(text.data,
			    "070701"
			    "00000001"
			    "000041ED"
			    "00000000"
			    "00000000"
			    "00000002"
			    "00000000"
			    "00000000"
			    "00000000"
			    "00000000"
			    "00000000"
			    "00000000"
			    "00000002"
			    "00000000"
			    ".",
			    112);
	assert_int_equal(text.len % 4, 0);
	assert_non_null(memmem(text.data, text.len, "init\0\0usr/sbin/init\0\0\0", 22));
	assert_non_null(memmem(text.data, text.len, "usr/bin/sh\0\0\0\0a shell\0", 22));
	assert_non_null(memmem(text.data + text.len - 16, 16, "TRAILER!!!", 10));

	const int dir = openat(x.config.dir, "update/images/10", O_RDONLY | O_DIRECTORY);
	cmdline = sidecar_load(dir, "i", "cmdline");
	assert_string_equal(cmdline, "quiet limpid.state=empty");
	vmlinux = sidecar_load(dir, "i", "vmlinux");
	assert_string_equal(vmlinux, "vmlinux-guest");
	load(&x, "update/images/10/vmlinux-guest", &text);
	assert_string_equal(text.data, "ELF");
	assert_true(fs_exists(dir, "bzImage-guest"));
	close(dir);
	mixed_end(&x);
}

TEST(the_init_of_an_image_can_be_chosen)
{
	_cleanup_(image_made_clear) struct image_made made = {0};
	_cleanup_(buf_free) struct buf text = {0}, list = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	begin(&x);
	assert_int_equal(
		make(&x, "i", "kind = initrd\nbundles = app\ninit = /usr/bin/app\ncompress = none\n", &made, &e), 0);
	load(&x, made.path, &text);
	assert_non_null(memmem(text.data, text.len, "usr/sbin/init\0", 14));
	assert_non_null(memmem(text.data, text.len, "../../usr/bin/app", 17));
	image_made_clear(&made);
	assert_fails(
		make(&x, "i", "kind = initrd\nbundles = os-core\ninit = /usr/bin/app\ncompress = none\n", &made, &e),
		ERR_CONFIG, &e, "image 'i': init = /usr/bin/app: nothing of its bundles has this path");
	assert_fails(make(&x, "i", "kind = initrd\nbundles = kernel-guest\ncompress = none\n", &made, &e), ERR_CONFIG,
		     &e, "nothing of its bundles is '/usr/sbin/init'");
	mixed_end(&x);
}

TEST(an_oci_layout_has_a_layer_per_bundle)
{
	_cleanup_(image_made_clear) struct image_made made = {0}, other = {0};
	_cleanup_(buf_free) struct buf index = {0}, text = {0}, list = {0};
	_cleanup_(strv_free) struct strv blobs = {0};
	struct err e = ERR_INIT;
	struct mixed x;
	unsigned layers = 0;

	buf_puts(&list, "");
	begin(&x);
	assert_int_equal(
		make(&x, "o",
		     "kind = oci\ndescription = \"quoted\"\nbundles = app\ncompress = none\ncommand = /usr/bin/app -v\n"
		     "labels = org.example.a=b=c\n",
		     &made, &e),
		0);
	assert_string_equal(made.path, "update/images/10/o.oci");
	load(&x, "update/images/10/o.oci/oci-layout", &text);
	assert_string_equal(text.data, "{\"imageLayoutVersion\":\"1.0.0\"}");
	load(&x, "update/images/10/o.oci/index.json", &index);
	assert_non_null(strstr(index.data, "\"org.opencontainers.image.ref.name\":\"10\""));
	assert_ok(fs_list(x.config.dir, "update/images/10/o.oci/blobs/sha256", &blobs, &e), &e);
	assert_int_equal(blobs.n, 4); /* two layers, the config, the manifest */
	for (size_t i = 0; i < blobs.n; i++) {
		_cleanup_free_ char *path = xasprintf("update/images/10/o.oci/blobs/sha256/%s", blobs.items[i]);
		char hex[DIGEST_HEX];
		struct digest d;
		load(&x, path, &text);
		sha256_mem(text.data, text.len, &d);
		digest_format(&d, hex);
		assert_string_equal(hex, blobs.items[i]);
		if (strstr(text.data, "diff_ids")) {
			assert_non_null(strstr(text.data, "\"Cmd\":[\"/usr/bin/app\",\"-v\"]"));
			assert_non_null(
				strstr(text.data, "\"org.opencontainers.image.description\":\"\\\"quoted\\\"\""));
			assert_non_null(strstr(text.data, "\"org.example.a\":\"b=c\""));
			/* what is included lies below */
			assert_true(strstr(text.data, "bundle os-core") < strstr(text.data, "bundle app"));
		} else if (text.data[0] != '{') {
			layers++;
			list_tar(&text, &list);
		}
	}
	assert_int_equal(layers, 2);
	assert_non_null(strstr(list.data, "usr/bin/app F 755 15"));
	const char *shell = strstr(list.data, "usr/bin/sh ");
	assert_non_null(shell);
	assert_null(strstr(shell + 1, "usr/bin/sh ")); /* in one layer only */

	/* an image without the application has the other layer in common with it */
	assert_int_equal(make(&x, "p", "kind = oci\nbundles = os-core\ncompress = none\n", &other, &e), 0);
	unsigned shared = 0;
	for (size_t i = 0; i < blobs.n; i++) {
		_cleanup_free_ char *path = xasprintf("update/images/10/p.oci/blobs/sha256/%s", blobs.items[i]);
		shared += fs_exists(x.config.dir, path);
	}
	assert_int_equal(shared, 1);
	mixed_end(&x);
}

static void remove_images(struct mixed *x)
{
	struct err e = ERR_INIT;

	assert_ok(fs_remove_tree(x->config.dir, "update/images", &e), &e);
}

TEST(an_image_is_a_function_of_the_published_release)
{
	static const char *const definitions[] = {
		"kind = tar\nbundles = app\ncompress = none\netc = factory\n",
		"kind = initrd\nbundles = app\nkernel = guest\ncompress = none\n",
		"kind = oci\nbundles = app\ncompress = none\n",
	};
	struct err e = ERR_INIT;
	struct mixed x;

	begin(&x);
	for (size_t i = 0; i < ARRAY_LEN(definitions); i++) {
		char first[DIGEST_HEX];
		/* with the trees and the store; with neither */
		for (unsigned pass = 0; pass < 2; pass++) {
			_cleanup_(image_made_clear) struct image_made made = {0};
			_cleanup_close_ int cache = pass ? test_dir(NULL, 0) : -1;
			const struct mix was = x.m;
			struct sidecar_image image;
			if (pass) {
				x.m.cache = cache;
				assert_ok(store_open(cache, &x.m.store, &e), &e);
				assert_int_equal(renameat(x.config.dir, "update/releases", x.config.dir, "away"), 0);
				remove_images(&x);
			}
			assert_int_equal(make(&x, "x", definitions[i], &made, &e), 0);
			assert_ok(sidecar_measure(x.config.dir, made.path, &image, &e), &e);
			if (pass) {
				assert_string_equal(image.hex, first);
				assert_int_equal(renameat(x.config.dir, "away", x.config.dir, "update/releases"), 0);
				store_close(x.m.store);
				x.m = was;
			}
			memcpy(first, image.hex, sizeof(first));
		}
	}
	mixed_end(&x);
}

TEST(an_image_is_made_again_only_when_it_has_to_be)
{
	static const char definition[] = "kind = initrd\nbundles = os-core\nkernel = guest\ncompress = none\n";
	_cleanup_(image_made_clear) struct image_made a = {0}, b = {0}, c = {0}, d = {0}, f = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	begin(&x);
	assert_int_equal(make(&x, "i", definition, &a, &e), 0);
	assert_int_equal(make(&x, "i", definition, &b, &e), 1);
	assert_string_equal(a.path, b.path);
	/* somebody wrote to it */
	int fd = openat(x.config.dir, "update/images/10/i.initrd", O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 200), 1);
	close(fd);
	assert_int_equal(make(&x, "i", definition, &c, &e), 0);
	/* its kernel is gone */
	assert_int_equal(unlinkat(x.config.dir, "update/images/10/vmlinux-guest", 0), 0);
	assert_int_equal(make(&x, "i", definition, &d, &e), 0);
	/* its definition is another */
	assert_int_equal(make(&x, "i", "kind = tar\nbundles = os-core\ncompress = none\n", &f, &e), 0);
	assert_false(fs_exists(x.config.dir, "update/images/10/i.initrd"));
	mixed_end(&x);
}

TEST(an_image_over_its_budget_is_not_made_and_its_bundles_are_named)
{
	_cleanup_(image_made_clear) struct image_made made = {0};
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	begin(&x);
	assert_fails(make(&x, "t", "kind = tar\nbundles = app\ncompress = none\nbudget = 1K\n", &made, &e), ERR_LIMIT,
		     &e,
		     "more than its budget of 1.0 KiB; of its bundles, by their own files: 'app' 19 B, 'os-core' 14 B");
	assert_ok(fs_list(x.config.dir, "update/images/10", &names, &e), &e);
	assert_int_equal(names.n, 0);
	mixed_end(&x);
}

TEST(an_image_of_what_the_release_does_not_have_is_refused)
{
	static const struct {
		const char *text, *message, *hint;
		int code;
	} cases[] = {
		{"kind = tar\nbundles = app nothing\ncompress = none\n",
		 "image 't': release 10 has no bundle 'nothing'", "mixer bundle add nothing", ERR_BUNDLE},
		{"kind = initrd\nbundles = app\nkernel = native\ncompress = none\n",
		 "image 't': release 10 has no kernel 'native'", "it has guest", ERR_CONFIG},
	};
	_cleanup_(image_made_clear) struct image_made made = {0};
	struct err e = ERR_INIT;
	struct mixed x;

	begin(&x);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(make(&x, "t", cases[i].text, &made, &e), -cases[i].code);
		assert_non_null(strstr(e.text, cases[i].message));
		assert_non_null(strstr(e.hint, cases[i].hint));
		err_clear(&e);
	}
	struct image_maker *k = NULL;
	assert_int_equal(image_maker_open(&x.m, 20, &k, &e), -ERR_RELEASE);
	assert_string_equal(e.text, "release 20 is not published");
	err_clear(&e);
	mixed_end(&x);
}

TEST(identifiers_of_an_image_are_its_own_and_always_the_same)
{
	const struct image_definition a = {.name = (char *)"a"}, b = {.name = (char *)"b"};
	const struct image_job first = {.definition = &a}, second = {.definition = &b};
	char one[UUID_TEXT], again[UUID_TEXT], label[UUID_TEXT], other[UUID_TEXT];

	image_uuid(&first, "root", one);
	image_uuid(&first, "root", again);
	image_uuid(&first, "hash", label);
	image_uuid(&second, "root", other);
	assert_string_equal(one, again);
	assert_string_not_equal(one, label);
	assert_string_not_equal(one, other);
	assert_int_equal(strlen(one), 36);
	assert_int_equal(one[14], '8');
	assert_non_null(strchr("89ab", one[19]));
}

TEST(zeros_stay_holes_where_a_file_is_pasted_into_an_image)
{
	struct image_job job = {.work = test_dir(NULL, 0)};
	_cleanup_free_ char *zeros = xcalloc(1, 1UL << 20);
	struct err e = ERR_INIT;
	struct stat st;

	int from = image_create(&job, "from", &e);
	assert_ok(from, &e);
	assert_ok(fs_write_at(from, 0, "begin", 5, &e), &e);
	assert_ok(fs_write_at(from, 65536, zeros, 1UL << 20, &e), &e);
	int to = image_create(&job, "to", &e);
	assert_ok(to, &e);
	assert_ok(image_paste(&job, "from", to, 3UL << 20, &e), &e);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, (4UL << 20) + 65536);
	assert_true(st.st_blocks * 512 <= 131072);
	char got[6] = {0};
	assert_int_equal(pread(to, got, 5, 3UL << 20), 5);
	assert_string_equal(got, "begin");
	close(from);
	close(to);
	closep(&job.work);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/image/definition.h"

#include <fcntl.h>
#include <string.h>

#include "mixer/input/config.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "tests/unit/test.h"

static int parse(const char *text, struct image_definition **out, struct err *e)
{
	return image_definition_parse(text, strlen(text), "x", "images/x.image", out, e);
}

TEST(an_image_definition_has_every_key_of_its_kind)
{
	_cleanup_(image_definition_freep) struct image_definition *d = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	struct err e = ERR_INIT;

	assert_ok(parse("kind = kata\n"
			"description = a guest\n"
			"bundles = a b\n"
			"bundles = c\n"
			"kernel = guest\n"
			"cmdline = quiet  panic=1\n"
			"init = /usr/lib/first\n"
			"state = overlay\n"
			"etc = factory\n"
			"budget = 40M\n"
			"compressed-budget = 1000\n"
			"filesystem = ext4\n"
			"dax-header = no\n"
			"verity = yes\n"
			"agent = none\n",
			&d, &e),
		  &e);
	assert_int_equal(d->kind, IMAGE_KATA);
	assert_int_equal(d->bundles.n, 3);
	assert_string_equal(d->cmdline, "quiet  panic=1");
	assert_int_equal(d->budget, 40UL << 20);
	assert_int_equal(d->compressed_budget, 1000);
	assert_int_equal(d->filesystem, FILESYSTEM_EXT4);
	assert_false(d->dax_header);
	assert_true(d->verity && d->factory);
	assert_int_equal(d->agent, AGENT_NONE);
	image_definition_format(d, &text);
	assert_string_equal(text.data, "kind = kata\ndescription = a guest\nbundles = a b c\nkernel = guest\n"
				       "cmdline = quiet  panic=1\ninit = /usr/lib/first\nstate = overlay\n"
				       "etc = factory\nbudget = 40M\ncompressed-budget = 1000\nfilesystem = ext4\n"
				       "dax-header = no\nverity = yes\nagent = none\n");
}

TEST(what_an_image_definition_does_not_say_has_a_default)
{
	static const struct {
		const char *text, *resolved;
	} cases[] = {
		{"kind = tar\nbundles = a", "kind = tar\nbundles = a\netc = empty\ncompress = zstd\n"},
		{"kind = oci\nbundles = a\nlabels = k=v",
		 "kind = oci\nbundles = a\netc = empty\ncompress = gzip\nlabels = k=v\n"},
		{"kind = initrd\nbundles = a\nkernel = none\ncompress = none",
		 "kind = initrd\nbundles = a\nkernel = none\ninitramfs = none\netc = empty\ncompress = none\n"},
		{"kind = disk\nbundles = a\nsize = 4G\nbudget = 1537K",
		 "kind = disk\nbundles = a\nkernel = none\ninitramfs = none\netc = empty\nbudget = 1573888\nsize = "
		 "4096M\n"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(image_definition_freep) struct image_definition *d = NULL;
		_cleanup_(buf_free) struct buf text = {0};
		struct err e = ERR_INIT;
		assert_ok(parse(cases[i].text, &d, &e), &e);
		image_definition_format(d, &text);
		assert_string_equal(text.data, cases[i].resolved);
	}
}

TEST(a_mistake_in_an_image_definition_is_named_with_its_line)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "images/x.image: the key 'kind' is missing"},
		{"kind = tar\n", "images/x.image: the key 'bundles' is missing"},
		{"# c\n\nbundles = a\n", "images/x.image:3: 'kind' must be the first key"},
		{"kind = qcow2\n",
		 "images/x.image:1: kind is kata, dax-erofs, dax-ext4, initrd, disk, oci or tar, not 'qcow2'"},
		{"kind = tar\nbundel = a\n", "images/x.image:2: no such key: 'bundel'"},
		{"kind = tar\nverity = yes\n", "images/x.image:2: an image of kind tar has no key 'verity'"},
		{"kind = tar\nkernel = guest\n", "images/x.image:2: an image of kind tar has no key 'kernel'"},
		{"kind = tar\nkind = oci\n", "images/x.image:2: kind is given twice"},
		{"kind = tar\n[x]\nbundles = a\n", "images/x.image:3: an image has no section [x]"},
		{"kind = tar\nbudget = 40X\n", "images/x.image:2: budget is a size like 40M, not '40X'"},
		{"kind = tar\nbudget = M\n", "budget is a size like 40M, not 'M'"},
		{"kind = tar\nbudget = -1\n", "budget is a size"},
		{"kind = tar\nbudget = 0\n", "budget is a size"},
		{"kind = tar\nbudget =\n", "budget is a size"},
		{"kind = tar\nbudget = 17179869184G\n", "budget is a size"},
		{"kind = tar\ncompress = xz\n", "compress is none, gzip or zstd, not 'xz'"},
		{"kind = tar\netc = full\n", "etc is empty or factory, not 'full'"},
		{"kind = tar\nbundles = ../a\n", "images/x.image: bundles"},
		{"kind = initrd\nkernel = ../guest\n", "images/x.image:2: kernel is a name, not '../guest'"},
		{"kind = initrd\nkernel = a b\n", "kernel is one word, not 'a b'"},
		{"kind = initrd\ninit = sbin/init\n", "images/x.image:2: init"},
		{"kind = initrd\ninit = /a/../b\n", "images/x.image:2: init"},
		{"kind = kata\nverity = true\n", "verity is no or yes, not 'true'"},
		{"kind = kata\nfilesystem = xfs\n", "filesystem is erofs or ext4, not 'xfs'"},
		{"kind = oci\nbundles = a\nlabels = x\n", "labels: 'x' is not KEY=VALUE"},
		{"kind\n", "images/x.image:1: 'kind' is neither"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct image_definition *d = NULL;
		struct err e = ERR_INIT;
		assert_fails(parse(cases[i].text, &d, &e), ERR_CONFIG, &e, cases[i].message);
		assert_null(d);
	}
}

static void save(int dir, const char *name, const char *text)
{
	struct err e = ERR_INIT;

	assert_ok(fs_save_cache(dir, name, text, strlen(text), 0644, &e), &e);
}

TEST(a_local_image_hides_one_of_the_folder)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct image_definition *d = NULL;
	struct err e = ERR_INIT;
	char path[4096], images[4096];
	_cleanup_close_ int dir = test_dir(path, sizeof(path)), folder = test_dir(images, sizeof(images));
	const struct config c = {.dir = dir, .path = path, .images_dir = images};

	assert_ok(fs_mkdirs(dir, "local-images", 0755, &e), &e);
	save(dir, "local-images/b.image", "kind = tar\ndescription = local\nbundles = x\n");
	save(folder, "a.image", "kind = tar\nbundles = x\n");
	save(folder, "b.image", "kind = tar\ndescription = general\nbundles = x\n");
	save(folder, "README.md", "no image");
	save(folder, "run", "no image");
	assert_ok(image_definition_names(&c, &names, &e), &e);
	assert_int_equal(names.n, 2);
	assert_string_equal(names.items[0], "a");
	assert_ok(image_definition_load(&c, "b", &d, &e), &e);
	assert_string_equal(d->description, "local");
	image_definition_free(d);
	d = NULL;
	assert_int_equal(image_definition_load(&c, "c", &d, &e), -ERR_CONFIG);
	assert_string_equal(e.text, "no image is named 'c'");
	assert_string_equal(e.hint, "there are a, b");
	err_clear(&e);
	assert_int_equal(image_definition_load(&c, "../local-images/b", &d, &e), -ERR_CONFIG);
	err_clear(&e);
}

TEST(every_definition_of_the_images_folder_is_right)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct err e = ERR_INIT;
	char path[4096];
	_cleanup_close_ int dir = test_dir(path, sizeof(path));
	const struct config c = {.dir = dir, .path = path, .images_dir = (char *)"images"};

	assert_ok(image_definition_names(&c, &names, &e), &e);
	assert_true(names.n > 0);
	for (size_t i = 0; i < names.n; i++) {
		struct image_definition *d = NULL;
		assert_ok(image_definition_load(&c, names.items[i], &d, &e), &e);
		assert_true(*d->description); /* 'mixer image list' says what each is for */
		assert_true(d->budget > 0 || d->compressed_budget > 0);
		image_definition_free(d);
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/image/btrfs.h"
#include "mixer/image/content.h"
#include "mixer/image/image.h"
#include "mixer/image/release_initramfs.h"
#include "mixer/input/config.h"
#include "mixer/step/objects.h"
#include "mixer/step/step.h"
#include "mixer/step/toolroot.h"
#include "mixer/step/tree_archive.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/content/boot_entry.h"
#include "swupd/content/object.h"

/*
 * A disk for UEFI machines:
 *
 *     0          GPT
 *     1 MiB      EFI system partition: systemd-boot, an entry for it, kernel and initrd
 *     257 MiB    btrfs: subvolumes root, etc, var, home, roothome (/root), srv. A snapshot of the root has none of the others.
 *     end        GPT's copy
 */
#define MIB        (1UL << 20)
#define ESP_START  MIB
#define ESP_SIZE   (256 * MIB) /* some kernels with their initrds: the one that runs, the next, one to go back to */
#define ROOT_START (ESP_START + ESP_SIZE)
#define GPT_END    MIB
#define ROOT_MIN   (1024 * MIB) /* a machine that cannot be written to is of no use */
#define KERNELS    "/usr/lib/kernel"
#define LOADER     "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
#define ESP_TYPE   "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
#define ROOT_TYPE  "4f68bce3-e8cd-4db1-96e7-fbcaf984b709" /* x86-64: systemd knows it as the root */

/* --- the root ------------------------------------------------------------------------------------------------------------- */

/*
 * mkfs.btrfs reads a directory in the order in which it comes, and takes owners from files. In a ramfs, on all kernels, the last one made comes first; and
 * fakeroot remembers owners for tar, mkfs and mv. $1: archive, $2: file system; the rest are options.
 */
static const char make_btrfs[] = "set -e; tar=$1 image=$2; shift 2\n"
				 "work=/mnt/work; mkdir -p /tmp/tree; mount -t ramfs -o mode=755 ramfs /tmp/tree\n"
				 "export tar image work; cd /tmp/tree; mkdir top; cd top\n"
				 "exec fakeroot sh -ec '\n"
				 "  mkdir root; tar -C root -xp --numeric-owner -f \"$work/$tar\"\n"
				 "  for pair in etc:etc var:var home:home roothome:root srv:srv; do\n"
				 "    name=${pair%:*} place=root/${pair#*:}\n"
				 "    [ -d $place ] || mkdir $place; mv $place $name; mkdir -m 755 $place\n"
				 "    set -- \"$@\" --subvol rw:$name\n"
				 "  done\n"
				 "  chmod 755 .\n"
				 "  mkfs.btrfs -q -f -r . --subvol default:root \"$@\" \"$work/$image\"\n"
				 "' sh \"$@\"\n";

static int write_root(const struct image_job *job, uint64_t size, int fd, struct err *e)
{
	static const char name[] = ".root", tar[] = ".root.tar";
	char uuid[UUID_TEXT], device[UUID_TEXT];
	struct digest seed;
	_cleanup_close_ int archive = image_create(job, tar, e);

	int r = archive < 0 ? archive : tree_write_tar(job->m->store, job->tree, archive, e);
	if (r < 0)
		return r;
	_cleanup_close_ int file = image_create(job, name, e);
	if (file < 0)
		return file;
	if (ftruncate(file, (off_t)size) < 0)
		return err_errno(e, "%s", name);
	image_uuid(job, "root", uuid);
	image_uuid(job, "root device", device);
	const char *argv[] = {"sh", "-c", make_btrfs,      "btrfs", tar,  name,
			      "-U", uuid, "--device-uuid", device,  "-L", job->definition->name,
			      NULL};
	r = image_run(job, argv, NULL, NULL, 0, NULL, e);
	if (r < 0)
		return r;
	image_id(job, "btrfs", &seed);
	return btrfs_copy(file, fd, ROOT_START, &seed, OBJECT_MTIME, e);
}

/* --- the EFI system partition --------------------------------------------------------------------------------------------- */

/* A file of the release goes to job->work/name. 0: it has none. */
static int take_file(const struct image_job *job, const char *dir, const char *path, const char *name, struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = tree_new();

	int r = image_release_folder(job->source, dir, t, e);
	const struct node *n = r < 0 ? NULL : tree_find(t, path);
	if (!n)
		return r;
	_cleanup_close_ int in = store_get_fd(job->m->store, &n->hash, e);
	_cleanup_close_ int fd = in < 0 ? -1 : image_create(job, name, e);
	r = in < 0 ? in : fd < 0 ? fd : fs_copy_fd(in, fd, n->attrs.size, e);
	return r < 0 ? err_in(e, r, "%s", path) : 1;
}

static int take_kernel(const struct image_job *job, struct err *e)
{
	const char *kernel = job->definition->kernel;
	_cleanup_free_ char *dir = xasprintf(KERNELS "/%s", kernel ? kernel : ""), *path = xasprintf("%s/bzImage", dir);

	if (!kernel)
		return err_hint(e, err_set(e, -ERR_CONFIG, "a disk needs a kernel"), "'kernel = native' names one");
	int r = take_file(job, dir, path, "linux", e);
	if (r != 0)
		return r;
	r = err_set(e, -ERR_CONFIG, "release %u has no kernel '%s' (%s)", job->release, kernel, path);
	return err_hint(e, r, "'mixer kernel build %s' and the bundle kernel-%s make one", kernel, kernel);
}

/* The release's own (initrd() of bundle(5)), which updates replace, or one that is made of it here */
static int take_initrd(const struct image_job *job, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf(KERNELS "/%s", job->definition->kernel),
			    *path = xasprintf("%s/initrd", dir);
	int r = take_file(job, dir, path, "initrd", e);

	return r != 0 ? r : release_initramfs_build(job, job->definition->initramfs, CODEC_ZSTD, "initrd", e);
}

/* The release's own, or that of the tools */
static int take_loader(const struct image_job *job, struct err *e)
{
	int r = take_file(job, "/usr/lib/systemd/boot/efi", LOADER, "loader.efi", e);

	if (r != 0)
		return r;
	_cleanup_free_ char *path = xasprintf("%s" LOADER, toolroot_path(job->tools));
	_cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC), fd = -1;
	struct stat st;
	if (in < 0 || fstat(in, &st) < 0)
		return err_errno(e, "%s", path);
	fd = image_create(job, "loader.efi", e);
	return fd < 0 ? fd : fs_copy_fd(in, fd, (uint64_t)st.st_size, e);
}

static int put_text(const struct image_job *job, const char *name, const struct buf *text, struct err *e)
{
	_cleanup_close_ int fd = image_create(job, name, e);

	return fd < 0 ? fd : fs_write_at(fd, 0, text->data, text->len, e);
}

static int put_entry(const struct image_job *job, const char *folder, struct err *e)
{
	const struct config *c = job->m->config;
	_cleanup_(buf_free) struct buf loader = {0}, entry = {0};
	_cleanup_(boot_text_clear) struct boot_text text = {
		.kernel = xstrdup(job->definition->kernel),
		.title = xasprintf("%s %u", c->name, job->release),
		.version = job->release,
		.sort_key = xstrdup(c->id),
		.linux_ = xasprintf("%s/linux", folder),
		.options = image_all_cmdline(job),
	};

	/* any key shows the menu meanwhile */
	buf_printf(&loader, "default %s-*\ntimeout 1\n", c->id);
	if (job->definition->initramfs)
		strv_take(&text.initrds, xasprintf("%s/initrd", folder));
	boot_text_format(&text, &entry);
	int r = put_text(job, "loader.conf", &loader, e);
	return r < 0 ? r : put_text(job, "entry.conf", &entry, e);
}

/* mtools give a file the time that it has, else SOURCE_DATE_EPOCH. $1: volume id, $2: folder, $3: name of the entry, $4: seconds since 1970 */
static const char make_esp[] = "set -e; esp=.esp folder=$2 entry=$3; export MTOOLS_SKIP_CHECK=1\n"
			       "mkfs.vfat --invariant -F 32 -i \"$1\" -n ESP $esp >/dev/null\n"
			       "put() { touch -d \"@$time\" \"$1\"; mcopy -D o -m -i $esp \"$1\" \"::$2\"; }\n"
			       "time=$4; mmd -i $esp ::/EFI ::/EFI/BOOT ::/EFI/systemd ::/loader ::/loader/entries\n"
			       "mmd -i $esp \"::${folder%/*}\" \"::$folder\"\n"
			       "put loader.efi /EFI/BOOT/BOOTX64.EFI; put loader.efi /EFI/systemd/systemd-bootx64.efi\n"
			       "put loader.conf /loader/loader.conf; put entry.conf \"/loader/entries/$entry\"\n"
			       "put linux \"$folder/linux\"; [ ! -e initrd ] || put initrd \"$folder/initrd\"\n";

static int write_esp(const struct image_job *job, int fd, struct err *e)
{
	const char *id = job->m->config->id;
	_cleanup_free_ char *folder = xasprintf("/%s/%u", id, job->release);
	_cleanup_free_ char *entry = xasprintf("%s-%u.conf", id, job->release);
	_cleanup_free_ char *time = xasprintf("%lld", (long long)job->time);
	struct digest d;
	char volume[9];

	int r = take_kernel(job, e);
	if (r >= 0)
		r = take_loader(job, e);
	if (r >= 0)
		r = put_entry(job, folder, e);
	if (r >= 0 && job->definition->initramfs)
		r = take_initrd(job, e);
	if (r < 0)
		return r;
	_cleanup_close_ int esp = image_create(job, ".esp", e);
	if (esp < 0)
		return esp;
	if (ftruncate(esp, (off_t)ESP_SIZE) < 0)
		return err_errno(e, ".esp");
	image_id(job, "ESP volume", &d);
	text_hex(d.bytes, 4, volume);
	const char *argv[] = {"sh", "-c", make_esp, "esp", volume, folder, entry, time, NULL};
	r = image_run(job, argv, NULL, NULL, 0, NULL, e);
	return r < 0 ? r : image_paste(job, ".esp", fd, ESP_START, e);
}

/* --- the disk ------------------------------------------------------------------------------------------------------------- */

static int write_gpt(const struct image_job *job, const char *name, uint64_t root_size, struct err *e)
{
	char disk[UUID_TEXT], esp[UUID_TEXT], root[UUID_TEXT];
	_cleanup_(buf_free) struct buf script = {0};
	const char *argv[] = {"sh", "-c", "exec sfdisk -q \"$1\" <.gpt", "sfdisk", name, NULL};

	image_uuid(job, "disk", disk);
	image_uuid(job, "ESP", esp);
	image_uuid(job, "root partition", root);
	buf_printf(&script, "label: gpt\nlabel-id: %s\nunit: sectors\n", disk);
	buf_printf(&script, "start=%lu, size=%lu, type=" ESP_TYPE ", uuid=%s, name=ESP\n", ESP_START / 512,
		   ESP_SIZE / 512, esp);
	buf_printf(&script, "start=%lu, size=%llu, type=" ROOT_TYPE ", uuid=%s, name=root\n", ROOT_START / 512,
		   (unsigned long long)root_size / 512, root);
	int r = put_text(job, ".gpt", &script, e);
	return r < 0 ? r : image_run(job, argv, NULL, NULL, 0, NULL, e);
}

/* Bytes of the root's partition */
static int root_size(const struct image_job *job, uint64_t *out, struct err *e)
{
	const uint64_t wished = job->definition->size / MIB * MIB;
	uint64_t content = 0;

	for (size_t i = 0; i < job->tree->n; i++)
		content += job->tree->nodes[i].attrs.kind == KIND_FILE ? job->tree->nodes[i].attrs.size : 0;
	/* twice, so that an update has room beside what is there; it costs nothing in a file with holes */
	*out = MAX(ROOT_MIN, 2 * content / MIB * MIB);
	if (!wished)
		return 0;
	if (wished < ROOT_START + GPT_END + MIB || wished - ROOT_START - GPT_END < content) {
		_cleanup_free_ char *size = text_size(wished), *least = text_size(ROOT_START + GPT_END + content);
		return err_set(e, -ERR_CONFIG, "its size of %s is not enough: content and EFI partition alone have %s",
			       size, least);
	}
	*out = wished - ROOT_START - GPT_END;
	return 0;
}

int image_disk(struct image_job *job, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%s.disk", job->definition->name), *words = NULL;
	char uuid[UUID_TEXT];
	uint64_t size;

	image_uuid(job, "root partition", uuid);
	words = xasprintf("root=PARTUUID=%s rootfstype=btrfs rootflags=subvol=root rw", uuid);
	image_cmdline(job, words);
	int r = root_size(job, &size, e);
	_cleanup_close_ int fd = r < 0 ? r : image_create(job, name, e);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)(ROOT_START + size + GPT_END)) < 0)
		return err_errno(e, "%s", name);
	r = write_gpt(job, name, size, e);
	if (r >= 0)
		r = write_esp(job, fd, e);
	if (r >= 0)
		r = write_root(job, size, fd, e);
	if (r < 0)
		return r;
	image_output(job, name);
	image_say_text(job, "root-partition", uuid);
	image_uuid(job, "root", uuid);
	image_say_text(job, "root-uuid", uuid);
	image_say_number(job, "esp-offset", ESP_START);
	image_say_number(job, "esp-bytes", ESP_SIZE);
	image_say_number(job, "root-offset", ROOT_START);
	image_say_number(job, "root-bytes", size);
	return 0;
}

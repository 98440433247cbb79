/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/compress.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

struct buf;
struct config;
struct err;

enum image_kind {
	IMAGE_KATA,      /* raw disk for a VM container runtime: two MBRs, DAX header, optionally verity */
	IMAGE_DAX_EROFS, /* a file system alone, for a persistent memory device */
	IMAGE_DAX_EXT4,
	IMAGE_INITRD, /* cpio */
	IMAGE_DISK,   /* GPT, EFI system partition, btrfs */
	IMAGE_OCI,    /* OCI image layout, a layer per bundle */
	IMAGE_TAR,
	IMAGE_KINDS, /* how many */
};

enum image_filesystem { FILESYSTEM_EROFS, FILESYSTEM_EXT4 };

/* How Kata's agent is started. */
enum image_agent {
	AGENT_SYSTEMD, /* by systemd, as kata-agent.service */
	AGENT_INIT,    /* it is the first program itself */
	AGENT_NONE,    /* a runtime without it */
};

/*
 * What an image is to be: a text file <name>.image, image(5). Strings and lists are owned; NULL or empty: not given, or of no meaning for the kind.
 */
struct image_definition {
	char *name;
	char *path; /* of the file, for messages */
	enum image_kind kind;
	char *description;
	struct strv bundles;                /* wished; what they include comes along */
	char *kernel;                       /* name of a profile: <release>/usr/lib/kernel/<kernel>/ */
	char *cmdline;                      /* of the kernel, beside root= and what the kind adds */
	char *initramfs;                    /* dracut's configuration that picks what is in the initrd */
	char *init;                         /* absolute: what /usr/sbin/init (in an initrd also /init) leads to */
	char *state;                        /* becomes limpid.state= */
	bool factory;                       /* etc = factory: /etc begins as a copy of /usr/share/factory/etc */
	uint64_t budget, compressed_budget; /* bytes of the image, of the image compressed with zstd -19; 0: none */

	enum codec codec; /* compress = none, gzip, zstd: of a tar, an initrd, the layers of oci */
	enum image_filesystem filesystem;
	bool dax_header, verity;     /* kata */
	enum image_agent agent;      /* kata */
	uint64_t size;               /* disk: bytes of the whole, 0: what the content needs */
	struct strv command, labels; /* oci: words of the command; KEY=VALUE */
};

void image_definition_free(struct image_definition *d);
DEFINE_CLEANUP(struct image_definition *, image_definition_free);

/*
 * text[0..len) is named path in messages. -ERR_CONFIG: a key that is unknown, wrong, or of another kind, with its line; or one is missing.
 */
int image_definition_parse(const char *text, size_t len, const char *name, const char *path,
			   struct image_definition **out, struct err *e);

/* Load NAME from <workspace>/local-images, else from [mix] images. -ERR_CONFIG: there is none of this name; the hint names all. */
int image_definition_load(const struct config *c, const char *name, struct image_definition **out, struct err *e);

/* The names of all, sorted. */
int image_definition_names(const struct config *c, struct strv *out, struct err *e);

/* Every key of the kind with its value, as it would stand in the file: for people, and as a part of what an image is made from. */
void image_definition_format(const struct image_definition *d, struct buf *out);

const char *image_kind_name(enum image_kind k);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mixer/image/content.h"
#include "mixer/image/image.h"
#include "mixer/input/config.h"
#include "mixer/step/step.h"
#include "mixer/step/tree_archive.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/json.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/*
 * The OCI image layout (image-spec v1):
 *
 *     <name>.oci/oci-layout
 *     <name>.oci/index.json                    → the manifest
 *     <name>.oci/blobs/sha256/<hex>            manifest → config, layers
 *
 * A bundle is a layer, and what is included lies below who includes it. A layer depends on its bundle alone, so images with a bundle in common, of the same
 * release or another where it did not change, have that layer in common, too.
 */
#define BLOBS    "blobs/sha256"
#define MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define INDEX    "application/vnd.oci.image.index.v1+json"
#define CONFIG   "application/vnd.oci.image.config.v1+json"
#define LAYER    "application/vnd.oci.image.layer.v1.tar"
#define PATH     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"

struct blob {
	char hex[DIGEST_HEX];
	uint64_t size;
};

struct layer {
	struct blob blob;
	char diff[DIGEST_HEX]; /* of the tar, uncompressed */
};

/* --- blobs ---------------------------------------------------------------------------------------------------------------- */

static int blob_of_file(const struct image_job *job, const char *name, struct blob *out, struct err *e)
{
	_cleanup_close_ int fd = openat(job->work, name, O_RDONLY | O_CLOEXEC);
	struct digest d;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, "%s", name);
	int r = sha256_fd(fd, &d, e);
	if (r < 0)
		return r;
	digest_format(&d, out->hex);
	out->size = (uint64_t)st.st_size;
	return 0;
}

/* Move a file of the work directory to its place. */
static int add_file(const struct image_job *job, const char *dir, const char *name, struct blob *out, struct err *e)
{
	int r = blob_of_file(job, name, out, e);

	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("%s/" BLOBS "/%s", dir, out->hex);
	return renameat(job->work, name, job->work, path) < 0 ? err_errno(e, "%s", path) : 0;
}

static int add_text(const struct image_job *job, const char *dir, const struct buf *text, struct blob *out,
		    struct err *e)
{
	int r = fs_save_cache(job->work, ".blob", text->data, text->len, 0644, e);

	return r < 0 ? r : add_file(job, dir, ".blob", out, e);
}

static void put_descriptor(struct buf *b, const char *type, const struct blob *blob)
{
	buf_printf(b, "{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":%llu", type, blob->hex,
		   (unsigned long long)blob->size);
}

/* --- layers --------------------------------------------------------------------------------------------------------------- */

static int add_layer(const struct image_job *job, const char *dir, const struct image_bundle *bundle, struct layer *out,
		     struct err *e)
{
	_cleanup_(tree_freep) struct tree *t = image_tree_copy(bundle->own);
	_cleanup_close_ int fd = image_create(job, ".layer.tar", e);
	struct blob plain;

	if (job->definition->factory)
		image_tree_factory(t);
	int r = fd < 0 ? fd : tree_write_tar(job->m->store, t, fd, e);
	if (r >= 0)
		r = blob_of_file(job, ".layer.tar", &plain, e);
	if (r >= 0)
		r = image_compress(job, job->definition->codec, ".layer.tar", ".layer", e);
	if (r >= 0)
		r = add_file(job, dir, ".layer", &out->blob, e);
	if (r < 0)
		return err_in(e, r, "bundle '%s'", bundle->name);
	(void)unlinkat(job->work, ".layer.tar", 0);
	memcpy(out->diff, plain.hex, sizeof(out->diff));
	return 0;
}

/* --- documents ------------------------------------------------------------------------------------------------------------ */

/* Go's names, which the specification wants */
static const char *architecture(const struct config *c)
{
	static const char *const names[][2] = {
		{"i386", "386"}, {"armhf", "arm"}, {"armel", "arm"}, {"ppc64el", "ppc64le"}, {"mips64el", "mips64le"}};

	for (size_t i = 0; c->architecture && i < ARRAY_LEN(names); i++)
		if (strcmp(c->architecture, names[i][0]) == 0)
			return names[i][1];
	return c->architecture ? c->architecture : "amd64";
}

static void put_label(struct buf *b, const char *key, const char *value)
{
	if (b->data[b->len - 1] != '{')
		buf_putc(b, ',');
	json_string(b, key);
	buf_putc(b, ':');
	json_string(b, value);
}

static void put_labels(const struct image_job *job, struct buf *b)
{
	const struct image_definition *d = job->definition;
	_cleanup_free_ char *release = xasprintf("%u", job->release);

	buf_puts(b, "\"Labels\":{");
	put_label(b, "org.opencontainers.image.title", d->name);
	if (*d->description)
		put_label(b, "org.opencontainers.image.description", d->description);
	put_label(b, "org.opencontainers.image.version", release);
	for (size_t i = 0; i < d->labels.n; i++) {
		const char *equals = strchr(d->labels.items[i], '=');
		_cleanup_free_ char *key = xstrndup(d->labels.items[i], (size_t)(equals - d->labels.items[i]));
		put_label(b, key, equals + 1);
	}
	buf_putc(b, '}');
}

static void put_config(const struct image_job *job, const struct layer *layers, struct buf *b)
{
	const struct image_definition *d = job->definition;
	const time_t seconds = (time_t)job->time;
	char created[32];
	struct tm tm;

	strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
	buf_printf(b,
		   "{\"architecture\":\"%s\",\"os\":\"linux\",\"created\":\"%s\",\"config\":{\"Env\":[\"" PATH "\"],",
		   architecture(job->m->config), created);
	for (size_t i = 0; i < d->command.n; i++) {
		buf_puts(b, i ? "," : "\"Cmd\":[");
		json_string(b, d->command.items[i]);
	}
	buf_puts(b, d->command.n ? "]," : "");
	put_labels(job, b);
	buf_puts(b, "},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
	for (size_t i = 0; i < job->content->n; i++)
		buf_printf(b, "%s\"sha256:%s\"", i ? "," : "", layers[i].diff);
	buf_puts(b, "]},\"history\":[");
	for (size_t i = 0; i < job->content->n; i++)
		buf_printf(b, "%s{\"created\":\"%s\",\"created_by\":\"mixer image\",\"comment\":\"bundle %s\"}",
			   i ? "," : "", created, job->content->bundles[i].name);
	buf_puts(b, "]}");
}

static void put_manifest(const struct image_job *job, const struct blob *config, const struct layer *layers,
			 struct buf *b)
{
	const enum codec codec = job->definition->codec;
	const char *type = codec == CODEC_GZIP ? LAYER "+gzip" : codec == CODEC_ZSTD ? LAYER "+zstd" : LAYER;

	buf_puts(b, "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST "\",\"config\":");
	put_descriptor(b, CONFIG, config);
	buf_puts(b, "},\"layers\":[");
	for (size_t i = 0; i < job->content->n; i++) {
		buf_puts(b, i ? "," : "");
		put_descriptor(b, type, &layers[i].blob);
		buf_puts(b, "}");
	}
	buf_puts(b, "]}");
}

static int write_documents(const struct image_job *job, const char *dir, const struct layer *layers, struct err *e)
{
	static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	_cleanup_(buf_free) struct buf config = {0}, manifest = {0}, index = {0};
	_cleanup_free_ char *layout = xasprintf("%s/oci-layout", dir), *top = xasprintf("%s/index.json", dir);
	struct blob blob;

	put_config(job, layers, &config);
	int r = add_text(job, dir, &config, &blob, e);
	if (r < 0)
		return r;
	put_manifest(job, &blob, layers, &manifest);
	r = add_text(job, dir, &manifest, &blob, e);
	if (r < 0)
		return r;
	buf_puts(&index, "{\"schemaVersion\":2,\"mediaType\":\"" INDEX "\",\"manifests\":[");
	put_descriptor(&index, MANIFEST, &blob);
	buf_printf(&index,
		   ",\"platform\":{\"architecture\":\"%s\",\"os\":\"linux\"},"
		   "\"annotations\":{\"org.opencontainers.image.ref.name\":\"%u\"}}]}",
		   architecture(job->m->config), job->release);
	r = fs_save_cache(job->work, layout, version, strlen(version), 0644, e);
	return r < 0 ? r : fs_save_cache(job->work, top, index.data, index.len, 0644, e);
}

int image_oci(struct image_job *job, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("%s.oci", job->definition->name);
	_cleanup_free_ char *blobs = xasprintf("%s/" BLOBS, dir);
	_cleanup_free_ struct layer *layers = xcalloc(job->content->n, sizeof(*layers));

	int r = fs_mkdirs(job->work, blobs, 0755, e);
	for (size_t i = 0; r >= 0 && i < job->content->n; i++)
		r = add_layer(job, dir, &job->content->bundles[i], &layers[i], e);
	if (r >= 0)
		r = write_documents(job, dir, layers, e);
	if (r < 0)
		return err_in(e, r, "%s", dir);
	image_output(job, dir);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/sbom.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "mixer/input/lock.h"
#include "swupd/base/json.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* SPDX identifiers have letters, digits, '.' and '-'; others become '-' and their code, so that names stay apart. */
static void add_id(struct buf *out, const char *kind, const char *name)
{
	buf_printf(out, "SPDXRef-%s-", kind);
	for (; *name; name++) {
		if (isalnum((unsigned char)*name) || *name == '.' || *name == '-')
			buf_putc(out, *name);
		else
			buf_printf(out, "-%02x-", (unsigned char)*name);
	}
}

static void add_purl_part(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr(".-_~", *text))
			buf_putc(out, *text);
		else
			buf_printf(out, "%%%02X", (unsigned char)*text);
	}
}

static void add_package(const struct locked_package *p, struct buf *out)
{
	char hex[DIGEST_HEX];

	digest_format(&p->sha256, hex);
	buf_puts(out, "    {\n      \"SPDXID\": \"");
	add_id(out, "package", p->name);
	buf_puts(out, "\",\n      \"name\": ");
	json_string(out, p->name);
	buf_puts(out, ",\n      \"versionInfo\": ");
	json_string(out, p->version);
	buf_puts(out, ",\n      \"packageFileName\": ");
	json_string(out, p->file);
	buf_printf(out,
		   ",\n      \"downloadLocation\": \"NOASSERTION\",\n      \"filesAnalyzed\": false,\n"
		   "      \"licenseConcluded\": \"NOASSERTION\",\n      \"licenseDeclared\": \"NOASSERTION\",\n"
		   "      \"copyrightText\": \"NOASSERTION\",\n"
		   "      \"checksums\": [{\"algorithm\": \"SHA256\", \"checksumValue\": \"%s\"}],\n      "
		   "\"sourceInfo\": ",
		   hex);
	_cleanup_free_ char *source = xasprintf("built from source package %s %s", p->source, p->source_version);
	json_string(out, source);
	buf_puts(
		out,
		",\n      \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\", "
		"\"referenceLocator\": \"pkg:deb/debian/");
	add_purl_part(out, p->name);
	buf_putc(out, '@');
	add_purl_part(out, p->version);
	buf_puts(out, "?arch=");
	add_purl_part(out, p->arch);
	buf_puts(out, "\"}]\n    }");
}

/* from NULL: the document itself */
static void add_relation(struct buf *out, bool *first, const char *from, const char *relation, const char *to_kind,
			 const char *to)
{
	buf_printf(out, "%s\n    {\"spdxElementId\": \"", *first ? "" : ",");
	if (from)
		add_id(out, "bundle", from);
	else
		buf_puts(out, "SPDXRef-DOCUMENT");
	buf_printf(out, "\", \"relationshipType\": \"%s\", \"relatedSpdxElement\": \"", relation);
	add_id(out, to_kind, to);
	buf_puts(out, "\"}");
	*first = false;
}

void sbom_format(const struct lock *l, const char *name, uint32_t release, struct buf *out)
{
	time_t seconds = (time_t)l->time;
	char created[32], hex[DIGEST_HEX];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &tm);
	digest_format(&l->input, hex);
	buf_puts(out, "{\n  \"spdxVersion\": \"SPDX-2.3\",\n  \"dataLicense\": \"CC0-1.0\",\n  \"SPDXID\": "
		      "\"SPDXRef-DOCUMENT\",\n"
		      "  \"name\": ");
	_cleanup_free_ char *title = xasprintf("%s %u", name, release);
	json_string(out, title);
	buf_printf(out, ",\n  \"documentNamespace\": \"https://spdx.org/spdxdocs/release-%u-%lld-%s\",\n", release,
		   (long long)l->time, hex);
	buf_printf(out,
		   "  \"creationInfo\": {\"created\": \"%s\", \"creators\": [\"Tool: mixer\"]},\n  \"packages\": [\n",
		   created);
	for (size_t i = 0; i < l->n_bundles; i++) {
		buf_puts(out, "    {\"SPDXID\": \"");
		add_id(out, "bundle", l->bundles[i].name);
		buf_puts(out, "\", \"name\": ");
		json_string(out, l->bundles[i].name);
		buf_printf(out,
			   ", \"versionInfo\": \"%u\", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": "
			   "false}%s\n",
			   release, i + 1 < l->n_bundles || l->n_packages ? "," : "");
	}
	for (size_t i = 0; i < l->n_packages; i++) {
		add_package(&l->packages[i], out);
		buf_puts(out, i + 1 < l->n_packages ? ",\n" : "\n");
	}
	buf_puts(out, "  ],\n  \"relationships\": [");
	bool first = true;
	for (size_t i = 0; i < l->n_bundles; i++)
		add_relation(out, &first, NULL, "DESCRIBES", "bundle", l->bundles[i].name);
	for (size_t i = 0; i < l->n_bundles; i++)
		for (size_t k = 0; k < l->bundles[i].n_packages; k++)
			add_relation(out, &first, l->bundles[i].name, "CONTAINS", "package", l->bundles[i].packages[k]);
	buf_puts(out, "\n  ]\n}\n");
}

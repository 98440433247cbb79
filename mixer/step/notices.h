/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct tree;

/*
 * Licences ask that their text and the copyright notices go with the programs. On machines they would only take room, so that convert.rules drops
 * them; the SBOM carries them instead. Add to out what raw, the files of package as Debian has them, brings of that: its copyright file (or the link of
 * its folder to that of a package from the same source), and the common licences to which such files refer.
 */
void notices_select(const struct tree *raw, const char *package, struct tree *out);

/*
 * The copyright file of package among the notices of all (sorted), through links; NULL: none of them has it.
 */
const struct node *notices_find(const struct tree *notices, const char *package);

#define NOTICES_COMMON "/usr/share/common-licenses/"

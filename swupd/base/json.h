/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct buf;

/* Add s as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, so the output is always valid JSON. */
void json_string(struct buf *b, const char *s);

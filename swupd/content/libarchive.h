/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <archive.h>
#include <archive_entry.h>

struct err;

/* What is called of it here: NAME of the function */
#define LIBARCHIVE_FUNCTIONS(NAME)                                                                                     \
	NAME(archive_entry_filetype)                                                                                   \
	NAME(archive_entry_gid)                                                                                        \
	NAME(archive_entry_hardlink)                                                                                   \
	NAME(archive_entry_pathname)                                                                                   \
	NAME(archive_entry_perm)                                                                                       \
	NAME(archive_entry_size)                                                                                       \
	NAME(archive_entry_sparse_count)                                                                               \
	NAME(archive_entry_symlink)                                                                                    \
	NAME(archive_entry_uid)                                                                                        \
	NAME(archive_error_string)                                                                                     \
	NAME(archive_filter_bytes)                                                                                     \
	NAME(archive_read_data)                                                                                        \
	NAME(archive_read_free)                                                                                        \
	NAME(archive_read_new)                                                                                         \
	NAME(archive_read_next_header)                                                                                 \
	NAME(archive_read_open_fd)                                                                                     \
	NAME(archive_read_open_filename)                                                                               \
	NAME(archive_read_open_memory)                                                                                 \
	NAME(archive_read_support_filter_bzip2)                                                                        \
	NAME(archive_read_support_filter_gzip)                                                                         \
	NAME(archive_read_support_filter_xz)                                                                           \
	NAME(archive_read_support_filter_zstd)                                                                         \
	NAME(archive_read_support_format_tar)

/*
 * libarchive, loaded when a tar is read: to load it with the 11 libraries that only it needs (libxml2, ICU …) takes a fifth of all that an update does
 * which finds nothing new, and where there is an update file no tar is read. It stays loaded.
 */
struct libarchive {
#define FUNCTION(name) __typeof__(name) *name;
	LIBARCHIVE_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

int libarchive_load(const struct libarchive **out, struct err *e); /* -ENOSYS: it is not there */

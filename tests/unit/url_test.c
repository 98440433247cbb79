/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include "swupd/base/mem.h"
#include "swupd/client/url.h"

static void assert_source(const char *source, const char *url, const char *path)
{
	_cleanup_free_ char *normal = url_normal(source);
	_cleanup_free_ char *found = url_path(normal);

	assert_string_equal(normal, url);
	if (path)
		assert_string_equal(found, path);
	else
		assert_null(found);
}

TEST(url_of_a_directory_is_the_same_however_it_is_spelled)
{
	static const char *const spellings[] = {"/mnt/USB STICK/tree", "/mnt/USB STICK/tree//",
						"file:///mnt/USB STICK/tree", "file:///mnt/USB%20STICK/tree/",
						"FILE://localhost/mnt/USB%20STICK/tree"};

	for (size_t i = 0; i < ARRAY_LEN(spellings); i++)
		assert_source(spellings[i], "file:///mnt/USB%20STICK/tree", "/mnt/USB STICK/tree");
}

TEST(url_with_signs_of_its_own)
{
	assert_source("/mnt/50%20 #1?", "file:///mnt/50%2520%20%231%3F", "/mnt/50%20 #1?");
	assert_source("file:///mnt/50% #1?\xc3\xa9%", "file:///mnt/50%25%20%231%3F%C3%A9%25", "/mnt/50% #1?\xc3\xa9%");
	assert_source("/", "file:///", "/");
}

TEST(url_of_no_file_stays_as_it_is)
{
	static const char *const urls[] = {
		"https://a.example/x y/%20", "http://a.example", "file:/x", "file://host/x", "file:", "tree", ""};

	for (size_t i = 0; i < ARRAY_LEN(urls); i++)
		assert_source(urls[i], urls[i], NULL);
	assert_source("http://a.example/x//", "http://a.example/x", NULL);
}

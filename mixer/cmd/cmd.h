/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "swupd/base/opt.h"

/* One per file of this folder, or a family of them; main.c lists them. The context of run is a struct session (mix.h). */
extern const struct command cmd_init;
extern const struct command cmd_bundle_add, cmd_bundle_create, cmd_bundle_edit, cmd_bundle_list, cmd_bundle_remove,
	cmd_bundle_validate;
extern const struct command cmd_lock;
extern const struct command cmd_kernel_build, cmd_kernel_list;
extern const struct command cmd_package_build, cmd_package_list, cmd_package_lock;
extern const struct command cmd_tools_list, cmd_tools_lock, cmd_tools_run;
extern const struct command cmd_versions, cmd_versions_update;
extern const struct command cmd_build, cmd_build_bundles, cmd_build_update, cmd_build_delta_packs,
	cmd_build_delta_manifests, cmd_build_validate;
extern const struct command cmd_key_show, cmd_key_rotate, cmd_key_drop, cmd_key_sign, cmd_key_publish;
extern const struct command cmd_image, cmd_image_list, cmd_image_show;
extern const struct command cmd_debuginfo_build, cmd_debuginfo_status;
extern const struct command cmd_freshen;
extern const struct command cmd_gc;
extern const struct command cmd_mirror;
extern const struct command cmd_job_run;
extern const struct command cmd_profile_export, cmd_profile_import, cmd_profile_merge, cmd_profile_record,
	cmd_profile_show;

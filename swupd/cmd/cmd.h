/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "swupd/base/opt.h"

/* The commands. run()'s context is the struct machine that main opened for the command's needs. */
extern const struct command cmd_bundle_add, cmd_bundle_info, cmd_bundle_list, cmd_bundle_remove, cmd_check_update,
	cmd_clean, cmd_diagnose, cmd_recover, cmd_health, cmd_accept, cmd_hashdump, cmd_history, cmd_info,
	cmd_os_install, cmd_repair, cmd_restart, cmd_rollback, cmd_update, cmd_verify;

/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The recorder daemon: takes numbered events of agents, commits them, acknowledges them, and
 * answers those who ask for them. One thread, one loop; main() is recorder_main().
 */

int recorder_main(int argc, char **argv);

/* SPDX-License-Identifier: ISC */
/* Names of commands. */
#include "admin/command.h"

const char *command_name(enum command_verb verb)
{
    static const char *const names[COMMAND_VERBS] = {[COMMAND_PAUSE] = "pause",
                                                     [COMMAND_RESUME] = "resume",
                                                     [COMMAND_RECONNECT] = "reconnect",
                                                     [COMMAND_DRAIN] = "drain",
                                                     [COMMAND_LOG_LEVEL] = "log-level"};
    return names[verb];
}

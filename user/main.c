/* Picks the command and runs it; what there is: cmd/cmds.c. */
#include "cmd/cmd.h"

int main(int argc, char **argv)
{
	return command_main(argc, argv);
}

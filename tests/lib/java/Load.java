import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/** Does what it is told by lines on its standard input, and answers "done" to each: gc N, dump N, alloc MB, long MS, quit, park N.
 *  Meanwhile a few threads are busy, so that a safepoint has somebody to stop. Runs on Java 8 and later. */
public class Load {
    static volatile Object sink;
    static volatile long counted;

    /** A loop without a look for safepoints, as the compiler makes of counted ones. */
    static long stretch(int[] data, int rounds) {
        long sum = 0;
        for (int round = 0; round < rounds; round++)
            System.arraycopy(data, 0, data, 1, data.length - 1);
        return sum + data[7];
    }

    static void busy() {
        long x = 0;
        for (;;) {
            x++;
            if ((x & 0xfffff) == 0) {
                sink = new byte[1000];
                Thread.yield();
            }
        }
    }

    /** Ends in a wait, so many calls deep. */
    static void deep(int depth, CountDownLatch begun) throws Exception {
        if (depth > 0) {
            deep(depth - 1, begun);
            return;
        }
        begun.countDown();
        new CountDownLatch(1).await();
    }

    /** Threads that do nothing, with long stacks. */
    static void park(int count) throws Exception {
        final CountDownLatch begun = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            Thread thread = new Thread(() -> {
                try {
                    deep(30, begun);
                } catch (Exception e) {
                    throw new RuntimeException(e);
                }
            }, "parked-" + i);
            thread.setDaemon(true);
            thread.start();
        }
        begun.await();
    }

    static void alloc(int megabytes) {
        for (int i = 0; i < megabytes * 16; i++)
            sink = new byte[65536];
    }

    /** Another thread copies a big array at once, over and over, while a safepoint is asked for. */
    static void slow(int count) throws Exception {
        final int[] data = new int[16 << 20];
        Thread copier = new Thread(() -> counted += stretch(data, count * 4));
        copier.start();
        while (copier.isAlive()) {
            ManagementFactory.getThreadMXBean().findDeadlockedThreads();
            Thread.sleep(5);
        }
        copier.join();
    }

    public static void main(String[] args) throws Exception {
        int threads = args.length > 0 ? Integer.parseInt(args[0]) : 2;
        for (int i = 0; i < threads; i++) {
            Thread thread = new Thread(Load::busy, "busy-" + i);
            thread.setDaemon(true);
            thread.start();
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("up");
        String line;
        while ((line = in.readLine()) != null) {
            String[] words = line.split(" ");
            int count = words.length > 1 ? Integer.parseInt(words[1]) : 1;
            if (words[0].equals("quit"))
                break;
            if (words[0].equals("alloc"))
                alloc(count);
            else if (words[0].equals("park"))
                park(count);
            else if (words[0].equals("slow"))
                slow(count);
            else
                for (int i = 0; i < count; i++)
                    if (words[0].equals("gc"))
                        System.gc();
                    else if (words[0].equals("dump"))
                        ManagementFactory.getThreadMXBean().dumpAllThreads(true, true);
            System.out.println("done");
        }
        System.exit(0);
    }
}

import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.util.StringJoiner;
import java.util.concurrent.CountDownLatch;

/** Does what it is told by lines on its standard input, and answers "done" to each:
 *    gc N      System.gc()                          dump N    dumpAllThreads()
 *    alloc MB  garbage                              slow N    copies of big arrays, which a safepoint waits for
 *    long MS   a loop of about so many milliseconds that looks for no safepoint, while one is asked for; needs
 *              -XX:-UseCountedLoopSafepoints
 *    deopt N   compiled code that a newly loaded class makes wrong
 *    park N    threads that do nothing              jmx       a line of JSON before "done": what the JVM's beans say
 *    quit
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

    static volatile boolean inside;
    static volatile long untilNs;

    /** A counted loop: of these the compiler takes the look for safepoints away. Asking for the time is no such look. */
    static int unpolled() {
        int x = 0;
        for (int i = 0; i < Integer.MAX_VALUE; i++) {
            x = x * 31 + i;
            inside = true;
            if (System.nanoTime() >= untilNs)
                break;
        }
        return x;
    }

    static boolean compiled;

    static void stubborn(final int ms) throws Exception {
        for (int i = 0; i < 1000 && !compiled; i++) {
            untilNs = System.nanoTime() + 200_000;
            counted += unpolled();
        }
        compiled = true;
        for (boolean asked = false; !asked;) {
            inside = false;
            // Not for ever: when others ask for a safepoint right now, this thread stops, and it is the one to end the loop.
            untilNs = System.nanoTime() + 500_000_000L;
            Thread thread = new Thread(() -> counted += unpolled());
            thread.start();
            while (!inside)
                Thread.yield();
            untilNs = System.nanoTime() + ms * 1_000_000L;
            asked = thread.isAlive();
            if (asked)
                ManagementFactory.getThreadMXBean().findDeadlockedThreads();
            thread.join();
        }
    }

    public static class Shape {
        int sides() {
            return 1;
        }
    }

    public static class Square extends Shape {
        @Override
        int sides() {
            return 4;
        }
    }

    public static class Hot implements Runnable {
        static volatile long sum; // of this loader's package, into which Load's own fields do not reach

        static int count(Shape shape, int rounds) {
            int sides = 0;
            for (int i = 0; i < rounds; i++)
                sides += shape.sides();
            return sides;
        }

        @Override
        public void run() {
            Shape shape = new Shape();
            for (int i = 0; i < 2000; i++)
                sum += count(shape, 1000);
            try {
                shape = (Shape) Class.forName("Load$Square", true, getClass().getClassLoader()).newInstance();
            } catch (ReflectiveOperationException e) {
                throw new RuntimeException(e);
            }
            sum += count(shape, 1);
        }
    }

    /** Has classes of its own, whatever others have loaded. */
    static class Fresh extends ClassLoader {
        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            if (!name.startsWith("Load$S") && !name.equals("Load$Hot"))
                return super.loadClass(name, resolve);
            Class<?> known = findLoadedClass(name);
            if (known != null)
                return known;
            byte[] bytes = new byte[65536];
            int length = 0;
            try (InputStream in = Load.class.getResourceAsStream(name + ".class")) {
                for (int n; (n = in.read(bytes, length, bytes.length - length)) > 0;)
                    length += n;
            } catch (java.io.IOException e) {
                throw new ClassNotFoundException(name, e);
            }
            return defineClass(name, bytes, 0, length);
        }
    }

    static void deopt() throws Exception {
        ((Runnable) new Fresh().loadClass("Load$Hot").newInstance()).run();
    }

    /** The JVM's own sums, of a bean that is not for everybody: it needs --add-opens java.management/sun.management=ALL-UNNAMED
     *  since Java 9, and null is said where it is not to be had. */
    static String hotspot(String getter) {
        try {
            Object bean = Class.forName("sun.management.ManagementFactoryHelper").getMethod("getHotspotRuntimeMBean").invoke(null);
            java.lang.reflect.Method method = bean.getClass().getMethod(getter);
            method.setAccessible(true);
            return String.valueOf(method.invoke(bean));
        } catch (ReflectiveOperationException | RuntimeException e) {
            return "null";
        }
    }

    static String jmx() {
        StringJoiner collectors = new StringJoiner(", ", "[", "]");
        for (GarbageCollectorMXBean c : ManagementFactory.getGarbageCollectorMXBeans())
            collectors.add(String.format("{\"name\": \"%s\", \"count\": %d, \"ms\": %d}", c.getName(), c.getCollectionCount(),
                c.getCollectionTime()));
        String safepoints = hotspot("getSafepointCount"), sync = hotspot("getSafepointSyncTime");
        return String.format("{\"collectors\": %s, \"safepoints\": %s, \"safepoint_sync_ms\": %s, \"safepoint_total_ms\": %s, "
            + "\"threads\": %d, \"uptime_ms\": %d, \"monotonic_ns\": %d}", collectors, safepoints, sync,
            hotspot("getTotalSafepointTime"), ManagementFactory.getThreadMXBean().getThreadCount(),
            ManagementFactory.getRuntimeMXBean().getUptime(), System.nanoTime());
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
            else if (words[0].equals("long"))
                stubborn(count);
            else if (words[0].equals("jmx"))
                System.out.println(jmx());
            else
                for (int i = 0; i < count; i++)
                    if (words[0].equals("gc"))
                        System.gc();
                    else if (words[0].equals("dump"))
                        ManagementFactory.getThreadMXBean().dumpAllThreads(true, true);
                    else if (words[0].equals("deopt"))
                        deopt();
            System.out.println("done");
        }
        System.exit(0);
    }
}

import com.sun.management.GarbageCollectionNotificationInfo;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ClassLoadingMXBean;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import java.lang.management.MemoryUsage;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.StringJoiner;
import java.util.concurrent.atomic.AtomicReference;
import javax.management.NotificationEmitter;
import javax.management.openmbean.CompositeData;

/* A program that does what it is told, a line at a time, and what JMX says of it, as a line of JSON:
 *   read            the beans
 *   gc              System.gc()
 *   allocate MB     makes that much garbage
 *   keep MB         makes objects that stay
 *   threads N       starts N threads, of them one a daemon, that stay
 *   quit
 * In the Java of JDK 8, so that it can be compiled for it.
 */
public class JmxReader {
    static final List<byte[]> kept = new ArrayList<>();
    static volatile byte[] sink;
    static final List<String> notifications = new ArrayList<>();

    static String text(String value) {
        return '"' + value.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    static String pool(String name, boolean heap, MemoryUsage usage) {
        return String.format("{\"name\": %s, \"heap\": %s, \"used\": %d, \"committed\": %d, \"max\": %d}", text(name),
            heap, usage.getUsed(), usage.getCommitted(), usage.getMax());
    }

    static String read() {
        StringJoiner pools = new StringJoiner(", ", "[", "]"), collectors = new StringJoiner(", ", "[", "]");
        for (MemoryPoolMXBean p : ManagementFactory.getMemoryPoolMXBeans()) {
            pools.add(pool(p.getName(), p.getType() == MemoryType.HEAP, p.getUsage()));
        }
        for (GarbageCollectorMXBean c : ManagementFactory.getGarbageCollectorMXBeans()) {
            collectors.add(String.format("{\"name\": %s, \"count\": %d, \"ms\": %d}", text(c.getName()),
                c.getCollectionCount(), c.getCollectionTime()));
        }
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        ClassLoadingMXBean classes = ManagementFactory.getClassLoadingMXBean();
        MemoryUsage heap = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage();
        com.sun.management.OperatingSystemMXBean os =
            (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        String seen;
        synchronized (notifications) {
            seen = String.join(", ", notifications);
        }
        return String.format("{\"pools\": %s, \"collectors\": %s, \"notifications\": [%s], \"threads\": %d, \"daemons\": %d, "
            + "\"loaded\": %d, \"unloaded\": %d, \"count\": %d, \"heap_used\": %d, \"heap_max\": %d, \"cpu_ns\": %d, "
            + "\"version\": %s, \"vm_name\": %s, \"vm_vendor\": %s, \"vm_version\": %s}",
            pools, collectors, seen, threads.getThreadCount(), threads.getDaemonThreadCount(),
            classes.getTotalLoadedClassCount(), classes.getUnloadedClassCount(), classes.getLoadedClassCount(),
            heap.getUsed(), heap.getMax(), os.getProcessCpuTime(), text(System.getProperty("java.version")),
            text(System.getProperty("java.vm.name")), text(System.getProperty("java.vm.vendor")),
            text(System.getProperty("java.vm.version")));
    }

    static void allocate(int megabytes, boolean keep) {
        for (int i = 0; i < megabytes * 16; i++) {
            sink = new byte[(1 << 16) - 16];
            if (keep) {
                kept.add(sink);
            }
        }
    }

    static void start(int count) {
        for (int i = 0; i < count; i++) {
            Thread thread = new Thread(() -> {
                synchronized (kept) {
                    try {
                        kept.wait();
                    } catch (InterruptedException stop) {
                        return;
                    }
                }
            });
            thread.setDaemon(i == 0);
            thread.start();
        }
    }

    static void listen() {
        for (GarbageCollectorMXBean bean : ManagementFactory.getGarbageCollectorMXBeans()) {
            ((NotificationEmitter) bean).addNotificationListener((notification, handback) -> {
                GarbageCollectionNotificationInfo info =
                    GarbageCollectionNotificationInfo.from((CompositeData) notification.getUserData());
                synchronized (notifications) {
                    notifications.add("[" + text(info.getGcName()) + ", " + text(info.getGcAction()) + "]");
                }
            }, null, null);
        }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        listen();
        read(); /* so that all classes are loaded */
        System.out.println("{\"ready\": true}");
        for (String line; (line = in.readLine()) != null && !line.equals("quit");) {
            String[] words = line.split(" ");
            int number = words.length > 1 ? Integer.parseInt(words[1]) : 0;
            switch (words[0]) {
            case "gc":
                System.gc();
                break;
            case "allocate":
                allocate(number, false);
                break;
            case "keep":
                allocate(number, true);
                break;
            case "threads":
                start(number);
                break;
            default:
            }
            System.out.println(read());
        }
        System.exit(0);
    }
}

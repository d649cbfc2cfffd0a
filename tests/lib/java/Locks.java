import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.ReentrantLock;

/** Threads in each way to wait: "twin-1" to "twin-20" with one stack, "keeper" with the lock that "waiter-1" to "waiter-5" want,
 *  and "left" and "right" each with the lock of the other, by monitors; "up" and "down" the same by ReentrantLock. Then does
 *  what it is told: make N (instances of Locks$Thing, kept), quit. Runs on Java 8 and later. */
public class Locks {
    static class Thing {
        long a, b;
    }

    static class Gate {
    }

    static final CountDownLatch never = new CountDownLatch(1);
    static final Object gate = new Gate();
    static final ReentrantLock first = new ReentrantLock(), second = new ReentrantLock();
    static Thing[][] things = new Thing[1000][];
    static int made;

    static void start(String name, Runnable what) {
        Thread thread = new Thread(what, name);
        thread.setDaemon(true);
        thread.start();
    }

    static void forever() {
        try {
            never.await();
        } catch (InterruptedException e) {
        }
    }

    static void meet(CountDownLatch both) {
        both.countDown();
        try {
            both.await();
        } catch (InterruptedException e) {
        }
    }

    static void monitors(Object mine, Object other, CountDownLatch both) {
        synchronized (mine) {
            meet(both);
            synchronized (other) {
                forever();
            }
        }
    }

    static void locks(ReentrantLock mine, ReentrantLock other, CountDownLatch both) {
        mine.lock();
        meet(both);
        other.lock();
    }

    static void keep(CountDownLatch kept) {
        synchronized (gate) {
            kept.countDown();
            forever();
        }
    }

    static void want() {
        synchronized (gate) {
            forever();
        }
    }

    static boolean in(String name, Thread.State state) {
        for (Thread thread : Thread.getAllStackTraces().keySet())
            if (thread.getName().equals(name))
                return thread.getState() == state;
        return false;
    }

    /** Until each is where it stays. */
    static void settle(String name, Thread.State state) throws Exception {
        while (!in(name, state))
            Thread.sleep(1);
    }

    static void begin() throws Exception {
        final Object left = new Object(), right = new Object();
        final CountDownLatch two = new CountDownLatch(2), other = new CountDownLatch(2), kept = new CountDownLatch(1);

        for (int i = 1; i <= 20; i++)
            start("twin-" + i, Locks::forever);
        start("keeper", () -> keep(kept));
        kept.await();
        for (int i = 1; i <= 5; i++)
            start("waiter-" + i, Locks::want);
        start("left", () -> monitors(left, right, two));
        start("right", () -> monitors(right, left, two));
        start("up", () -> locks(first, second, other));
        start("down", () -> locks(second, first, other));
        two.await();
        other.await();
        for (int i = 1; i <= 20; i++)
            settle("twin-" + i, Thread.State.WAITING);
        settle("keeper", Thread.State.WAITING);
        for (int i = 1; i <= 5; i++)
            settle("waiter-" + i, Thread.State.BLOCKED);
        settle("left", Thread.State.BLOCKED);
        settle("right", Thread.State.BLOCKED);
        settle("up", Thread.State.WAITING);
        settle("down", Thread.State.WAITING);
    }

    static void make(int count) {
        Thing[] all = new Thing[count];
        for (int i = 0; i < count; i++)
            all[i] = new Thing();
        things[made++] = all;
    }

    public static void main(String[] args) throws Exception {
        begin();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("up");
        String line;
        while ((line = in.readLine()) != null) {
            String[] words = line.split(" ");
            if (words[0].equals("quit"))
                break;
            if (words[0].equals("make"))
                make(Integer.parseInt(words[1]));
            System.out.println("done");
        }
        System.exit(0);
    }
}
